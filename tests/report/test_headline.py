from collections.abc import Callable
from dataclasses import replace
from typing import Any

from storage.records import Ceiling, Cell, Estimate, Verdict
from tasks.report.headline import ceiling_words, headline, objective_lines, regressed_lines
from tasks.report.instrument import instrument_words
from tasks.report.resumed import resumed_lines
from tasks.report.view import RunView, tone

View = Callable[..., RunView]
Made = dict[str, Any]


def test_a_regression_says_what_how_much_and_against_how_many_nights(view: View) -> None:
    said = view()
    assert headline(said) == "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights."
    assert tone(said) == "bad"


def test_a_throughput_that_fell_has_a_minus_although_the_gate_turns_it_round(view: View, made: Made) -> None:
    said = headline(view(verdicts=[made["slower"]]))
    assert said == "Regressed: throughput at 10 concurrent is 80.0/s, −20 % [−25, −15] against 7 nights."


def test_more_regressions_are_counted_and_the_largest_is_told(view: View, made: Made) -> None:
    both = view(verdicts=[made["slower"], made["regressed"]])
    assert headline(both) == (
        "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights "
        "(1 more verdict regressed)."
    )
    assert regressed_lines(both) == [
        "p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]",
        "throughput at 10 concurrent is 80.0/s, −20 % [−25, −15]",
    ]


def test_a_mean_over_levels_has_no_value_of_its_own(view: View, made: Made) -> None:
    mean = replace(made["regressed"], level=None, effect=0.06, lower=0.031, upper=0.09)
    assert headline(view(verdicts=[mean])) == (
        "Regressed: p95 latency over all levels is +6.0 % [+3.1, +9.0] against 7 nights."
    )


def test_unchanged_says_the_largest_move_and_what_would_have_been_seen(view: View) -> None:
    said = view(verdict="unchanged", verdicts=[v for v in view().verdicts if v.verdict == "unchanged"])
    assert headline(said) == (
        "Unchanged against 7 nights: the largest move is p95 latency at 1 concurrent, 50.0 ms, +1.2 % [−5.0, +8.0]; "
        "11 % more p95 latency would have been seen at any level."
    )
    assert tone(said) == "good"


def test_improved_says_by_how_much(view: View, made: Made) -> None:
    better = replace(made["regressed"], effect=-0.2, lower=-0.25, upper=-0.15, verdict="improved")
    assert headline(view(verdict="improved", verdicts=[better])) == (
        "Improved: p95 latency at 10 concurrent is 212 ms, −20 % [−25, −15] against 7 nights."
    )


def test_inconclusive_says_how_many_nights_there_are(view: View) -> None:
    said = view(verdict="inconclusive", verdicts=[], reason="2 nights")
    assert headline(said) == "Inconclusive: 2 nights."
    assert headline(view(verdict="inconclusive", verdicts=[], reason="inconclusive: 1 night")) == (
        "Inconclusive: 1 night."
    )
    assert tone(said) == "warn"


def test_an_unconfirmed_candidate_is_told_with_the_inconclusive(view: View, made: Made) -> None:
    candidate = replace(made["regressed"], verdict="inconclusive", reason="candidate")
    assert headline(view(verdict="inconclusive", verdicts=[candidate], reason="not confirmed yet")) == (
        "Inconclusive: not confirmed yet. 1 unconfirmed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]."
    )


def test_invalid_names_the_generator_as_the_limit_and_why(view: View, made: Made) -> None:
    late = made["leg"](10, 0, validity="invalid", reasons=["schedule lag p99 31 ms is over 20 ms"])
    said = view(verdict="invalid", verdicts=[], legs=[late, made["leg"](1, 0)])
    assert headline(said) == (
        "Invalid: the generator was the limit in 1 of 2 legs, at 10 concurrent "
        "(schedule lag p99 31 ms is over 20 ms); these numbers say nothing about the target."
    )
    assert tone(said) == "warn"


def test_invalid_counts_legs_of_the_targets_only(view: View, made: Made) -> None:
    late = made["leg"](10, 0, validity="invalid", reasons=["schedule lag p99 31 ms is over 20 ms"])
    others = [
        made["leg"](1, 0, target="control"),
        made["leg"](10, 0, target="null", series="calibration"),
        made["leg"](10, 0, attempt="probe", validity="invalid"),
    ]
    said = headline(view(verdict="invalid", verdicts=[], legs=[late, made["leg"](1, 0), *others]))
    assert said.startswith("Invalid: the generator was the limit in 1 of 2 legs, at 10 concurrent ")


def test_a_resumed_run_says_so(view: View) -> None:
    one = {"at": "2026-03-08T03:52:10+00:00", "kept": 7, "rows_set_aside": 143, "status": "interrupted",
           "ended": "2026-03-08T03:41:00+00:00", "reason": None}  # fmt: skip
    run = replace(view().run, environment={"resumed": [one, {**one, "kept": 1, "rows_set_aside": 0, "ended": None}]})
    assert headline(view(run=run)).endswith(" Resumed after it had stopped, so it enters no baseline.")
    assert resumed_lines(run) == [
        "resumed at 2026-03-08 03:52: kept 7 legs from before it was interrupted at 03:41, "
        "set 143 rows of others aside",
        "resumed at 2026-03-08 03:52: kept 1 leg from before it was interrupted",
    ]
    assert resumed_lines(view().run) == []


def test_a_broken_objective_leads_where_nothing_regressed(view: View, made: Made) -> None:
    result = made["objective"]("p95(latency){level=10} < 200ms", 0.2, 0.212, False)
    said = view(verdict="inconclusive", verdicts=[], reason="2 nights", slo_results=[result])
    assert headline(said) == (
        "Objective broken: p95(latency){level=10} < 200ms: measured 212 ms. Inconclusive: 2 nights."
    )
    assert tone(said) == "bad"
    assert objective_lines(said) == ["p95(latency){level=10} < 200ms: measured 212 ms"]


def test_an_objective_without_a_measurement_does_not_pass_silently(view: View, made: Made) -> None:
    result = made["objective"]("p95(latency) < 200ms", 0.2, None, None)
    said = view(verdict="unchanged", verdicts=[], slo_results=[result])
    assert headline(said) == "Unchanged: nothing moved against 7 nights. Nothing to judge p95(latency) < 200ms by."
    assert tone(said) == "warn"


def test_nothing_measured_is_not_called_unchanged(view: View) -> None:
    said = view(verdict=None, legs=[], cells=[], verdicts=[], reason="the log is empty")
    assert headline(said) == "Nothing measured: the log is empty."


def test_a_run_that_was_interrupted_has_no_verdict(view: View) -> None:
    assert headline(view(verdict=None, status="interrupted", reason=None)) == "No verdict, the run was interrupted."
    assert headline(view(verdict=None, status="failed", reason="disk full")) == (
        "No verdict, the run failed: disk full."
    )


def test_a_sweep_that_was_not_judged_says_what_it_measured(view: View) -> None:
    said = view(verdict=None, verdicts=[], flow="sweep")
    assert headline(said) == (
        "Measured, not judged: ceiling reached 80.0/s [78.0, 82.0] at 10 concurrent, limited by capacity; "
        "p95 latency 50.0 ms at 1 concurrent; p95 latency 212 ms at 10 concurrent."
    )
    assert tone(said) == "quiet"


def test_a_ceiling_that_was_not_reached_is_at_least() -> None:
    rising = Ceiling("gw", Estimate(798.0, 790.0, 806.0, 1000, 5), 100, False, "none")
    assert ceiling_words(rising) == (
        "at least 798/s [790, 806] at 100 concurrent: throughput was still rising at the top level"
    )
    ours = replace(rising, limited_by="generator")
    assert ceiling_words(ours).startswith("unknown: gatebench itself was the limit")


def test_the_instrument_says_its_floor_its_ceiling_and_the_share_used(view: View) -> None:
    floor = "streaming: floor 0.31 ms (p99 0.92 ms), ceiling 14,000/s"
    assert instrument_words(view()) == f"{floor}; this run used 1.4 % of it at most"
    assert instrument_words(view(calibrations=[])) is None


def test_an_error_verdict_without_an_effect_gives_its_reason(view: View) -> None:
    errors = Verdict("gw", "sweep", "errors", 10, None, None, None, 0.001, None, "regressed", "12 of 200 failed")
    assert headline(view(verdicts=[errors])) == (
        "Regressed: error share at 10 concurrent is 0 % (12 of 200 failed) against 7 nights."
    )


def test_a_run_that_its_budget_ended_is_not_blamed_on_the_generator(view: View, made: dict[str, Any]) -> None:
    cut = made["leg"](10, 1, validity="invalid", reasons=["budget: 5 requests"], stopped="budget")
    seen = view(verdict=None, exit_code=15, reason="budget: 10 requests", legs=[made["leg"](1, 0), cut])
    assert headline(seen) == (
        "Stopped early (budget: 10 requests) after 1 whole leg; so far ceiling reached 80.0/s [78.0, 82.0] at 10 "
        "concurrent, limited by capacity; p95 latency 50.0 ms at 1 concurrent; p95 latency 212 ms at 10 concurrent."
    )
    judged = view(verdict="invalid", exit_code=15, reason="budget: 10 requests", legs=[made["leg"](1, 0), cut])
    assert headline(judged).startswith("Stopped early (budget: 10 requests) after 1 whole leg")


def test_a_run_that_was_stopped_and_could_not_keep_up_says_the_latter(view: View, made: dict[str, Any]) -> None:
    slow = made["leg"](10, 0, validity="invalid", reasons=["generator: its CPU was busy"])
    cut = made["leg"](10, 1, validity="invalid", reasons=["budget: 5 requests"], stopped="budget")
    assert headline(view(verdict="invalid", exit_code=12, legs=[slow, cut])).startswith(
        "Invalid: the generator was the limit in 1 of 2 legs"
    )


def test_a_latency_that_hides_the_wait_to_be_sent_is_told_with_the_response_time(view: View, made: Made) -> None:
    def said(response: float) -> str:
        cells = [
            Cell("first", "gw", "load", 0, metric, Estimate(point, None, None, 100, 1))
            for metric, point in (("latency_p95", 0.02), ("response_p95", response))
        ]
        legs = [replace(made["leg"](0, 1), series="load")]
        return headline(view(verdict=None, verdicts=[], ceilings=[], slo_results=[], cells=cells, legs=legs))

    assert "p95 latency 20.0 ms (3,900 ms from when they were due) in the load" in said(3.9)
    assert "p95 latency 20.0 ms in the load" in said(0.021)
