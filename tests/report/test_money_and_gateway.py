"""What a run took, what the gateway did and what the instrument adds, in words."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from storage.records import Calibration, Cost, GatewayFacts, ceiling_of, shapes_of
from tasks.report.gateway import gateway_lines, gateway_rows, pair_rows, present_columns, unfair_lines
from tasks.report.headline import colour, headline
from tasks.report.html import render_html
from tasks.report.instrument import beside, blind_lines, floor_words, used_words
from tasks.report.markdown import render_markdown
from tasks.report.money import cost_words, load_rows, model_rows
from tasks.report.view import RunView

View = Callable[..., RunView]


def facts(target: str = "gw", level: int = 10, **changes: Any) -> GatewayFacts:
    quiet = GatewayFacts(
        *("first", target, "sweep", level, 200, 200, 200, {"200": 200}, {}, {"stop": 200}, 0, 0, None, None),
        *(0, 0, 0, 0, 0, 0, 0, 200, [("m", "m", 200)]),
    )
    return replace(quiet, **changes)


def cost(model: str = "m", level: int = 10, usd: float | None = 0.5, **changes: Any) -> Cost:
    made = Cost("b1", "first", "gw", "sweep", level, model, 1000, 0, 120_000, 0, 48_000, usd, 0, 0, usd and 0.0)
    return replace(made, **changes)


# --- cost


def test_the_cost_of_a_run_is_one_line(view: View) -> None:
    assert cost_words(view()) is None
    said = cost_words(view(costs=[cost(usd=0.42)]))
    assert said == "$0.42 ($0.42 per 1,000 requests); 120,000 tokens in, 48,000 out"


def test_waste_cached_and_unknown_tokens_are_told(view: View) -> None:
    bad = cost(cached_tokens=9_000, wasted_requests=12, wasted_output_tokens=300, wasted_usd=0.004, unknown=1)
    assert cost_words(view(costs=[bad])) == (
        "$0.50 ($0.50 per 1,000 requests); 120,000 tokens in (9,000 cached), 48,000 out; "
        "wasted: $0.0040 and 300 tokens out of 12 failed requests; tokens unknown for 1 request"
    )


def test_without_a_price_the_plan_is_pointed_at(view: View) -> None:
    said = cost_words(view(costs=[cost(usd=None)]))
    assert said == "no price known ([prices] in the plan); 120,000 tokens in, 48,000 out"


def test_the_tables_of_cost_are_by_model_and_by_load_and_add_up(view: View) -> None:
    seen = view(costs=[cost(), cost("n", usd=0.25), cost(level=1), cost(level=1, attempt="confirm")])
    rows = [(row.what, row.requests, row.usd) for row in model_rows(seen)]
    assert rows == [("m", "3,000", "$1.50"), ("n", "1,000", "$0.25"), ("the whole run", "4,000", "$1.75")]
    loads = [(row.what, row.usd) for row in load_rows(seen)]
    assert loads == [("1 concurrent", "$0.50"), ("10 concurrent", "$0.75"), ("1 concurrent, again", "$0.50")]


# --- gateway


def test_a_gateway_that_only_passes_on_is_not_spoken_of(view: View) -> None:
    seen = view(gateway=[facts()])
    assert (gateway_lines(seen), unfair_lines(seen), pair_rows(seen)) == ([], [], [])
    assert present_columns(gateway_rows(seen, "gw")) == ["limited", "other_model", "finish"]


def test_what_a_gateway_did_is_said_in_shares_of_all_levels(view: View) -> None:
    busy = facts(
        ok=180, rate_limited=20, retry_after_p50_s=1.0, retry_after_max_s=3.0, cache_hits=18, cache_known=180,
        fallbacks=9, fallbacks_known=9, retried=36, retried_known=36,
    )  # fmt: skip
    assert gateway_lines(view(gateway=[busy, facts(level=1, ok=180)])) == [
        "5 % of requests were refused with 429 (Retry-After up to 3 s); 5 % of answers came from the gateway's cache; "
        "2.5 % of answers came after a fallback; 10 % of answers came after the gateway had tried again"
    ]


def test_answers_of_another_model_are_said_with_the_pair(view: View) -> None:
    mixed = facts(other_model=24, models=[("m", "m", 176), ("m", "small", 24)])
    seen = view(gateway=[mixed])
    text = "12 % of answers came from another model than asked (small for m)"
    assert gateway_lines(seen) == [text]
    assert headline(seen).endswith(f"Mind that {text}.")
    assert [(p.asked, p.served, p.answers, p.share) for p in pair_rows(seen)] == [("m", "small", 24, 0.12)]


def test_an_alias_that_always_means_the_same_model_is_told_and_not_warned_of(view: View) -> None:
    alias = facts(other_model=200, models=[("fast", "gpt-4o", 200)])
    seen = view(gateway=[alias])
    assert gateway_lines(seen) == ["100 % of answers came from another model than asked (gpt-4o for fast)"]
    assert (unfair_lines(seen), "Mind that" in headline(seen)) == ([], False)


def test_targets_answered_by_different_models_are_no_fair_comparison(view: View, made: dict[str, Any]) -> None:
    legs = [made["leg"](10, 0), made["leg"](10, 0, target="other")]
    both = [facts(models=[("m", "big", 200)]), facts("other", models=[("m", "small", 200)])]
    assert unfair_lines(view(legs=legs, gateway=both)) == [
        "m is answered by different models: gw by big, other by small"
    ]


def test_a_cache_or_a_fallback_below_one_per_cent_is_not_in_the_headline(view: View) -> None:
    assert "Mind that" not in headline(view(gateway=[facts(cache_hits=1, cache_known=200)]))
    seen = view(gateway=[facts(cache_hits=2, cache_known=200)], verdict="unchanged", verdicts=[])
    said = headline(seen)
    assert (colour(seen), colour(replace(seen, gateway=[]))) == ("warn", "good")
    assert "Mind that 1 % of answers came from the gateway's cache." in said


def test_a_fallback_says_already_that_another_model_answered(view: View) -> None:
    fell = facts(fallbacks=20, fallbacks_known=20, other_model=20, models=[("m", "m", 180), ("m", "spare", 20)])
    assert unfair_lines(view(gateway=[fell])) == ["10 % of answers came after a fallback"]


def test_a_row_names_failures_statuses_and_finish_reasons(view: View) -> None:
    bad = facts(
        ok=190,
        statuses={"200": 192, "429": 6, "503": 2},
        failures={"rate_limited": 6, "http_5xx": 2, "truncated": 2},
        finish_reasons={"stop": 95, "length": 95},
        retry_after_p50_s=2.0,
        retry_after_max_s=2.0,
        rate_limited=6,
    )
    (row,) = gateway_rows(view(gateway=[bad]), "gw")
    assert row.cells["failures"] == "6 rate_limited, 2 http_5xx, 2 truncated (6 with status 429, 2 with status 503)"
    assert (row.cells["finish"], row.cells["limited"]) == ("stop 50 %, length 50 %", "3 %")
    assert (row.cells["retry_after"], row.cells["cache"]) == ("2 s", "–")


def test_the_page_shows_cost_and_gateway_and_trusts_no_name_a_target_gave(view: View) -> None:
    evil = "<img src=x>\x1b[2J"
    mixed = facts(other_model=24, models=[("m", "m", 176), ("m", evil, 24)])
    page = render_html(view(gateway=[mixed], costs=[cost(evil)]), None)
    assert "<h2>What the gateway did</h2>" in page
    assert "<h2>Cost</h2>" in page
    assert "<img src=x>" not in page
    assert "\x1b" not in page


def test_the_artifact_has_both_tables_and_the_lines(view: View) -> None:
    busy = facts(cache_hits=20, cache_known=200)
    text = render_markdown(view(gateway=[busy], costs=[cost()]), charts=False)
    assert "- gateway: 10 % of answers came from the gateway's cache" in text
    assert "- cost: $0.50 ($0.50 per 1,000 requests); 120,000 tokens in, 48,000 out" in text
    assert "| 10 concurrent | 200 | 0 % | 10 % | 0 % | stop 100 % |" in text
    assert (
        "| gw | m | 1,000 | 120,000 | 48,000 | $0.50 | $0.50 |\n" in text
    )  # without a column for what was wasted: nothing is known of it
    assert "### Cost" not in render_markdown(view(), charts=False)


# --- the instrument


STREAM, PLAIN = Calibration(True, 0.3, 0.9, 9_000.0), Calibration(False, 0.1, 0.2, 18_000.0)


def test_a_mix_of_shapes_has_a_ceiling_between_theirs_by_the_time_each_request_takes() -> None:
    assert ceiling_of(shapes_of([STREAM, PLAIN], "wire", 1.0)) == 9_000.0
    assert ceiling_of(shapes_of([STREAM, PLAIN], "wire", 0.0)) == 18_000.0
    assert ceiling_of(shapes_of([STREAM, PLAIN], "wire", 0.5)) == pytest.approx(12_000.0)


def test_a_shape_or_transport_that_was_not_calibrated_has_no_ceiling() -> None:
    assert ceiling_of(shapes_of([STREAM], "wire", 0.5)) is None
    assert ceiling_of(shapes_of([STREAM], "httpx", 1.0)) is None


def test_each_level_has_the_floor_and_ceiling_of_its_own_shape(view: View) -> None:
    seen = view(calibrations=[PLAIN, STREAM], gateway=[facts(streamed=100)])
    found = beside(seen, "gw", "sweep", 10)
    assert found is not None
    assert (floor_words(found), used_words(found)) == ("0.30 ms", "1.7 % of 12,000/s")
    assert beside(view(calibrations=[PLAIN]), "gw", "sweep", 10) is None


def test_the_other_transport_is_named_and_has_a_floor_of_its_own(view: View) -> None:
    plan = {"targets": [{"name": "gw", "transport": "httpx"}]}
    seen = view(plan=plan, calibrations=[STREAM, replace(STREAM, floor_p50_ms=4.0, transport="httpx")])
    found = beside(seen, "gw", "sweep", 10)
    assert found is not None
    assert floor_words(found) == "4.00 ms (httpx)"


def test_several_workers_have_their_ceilings_together(view: View, made: dict[str, Any]) -> None:
    pair = made["leg"](10, 0, workers=[object(), object()])
    found = beside(view(legs=[pair], calibrations=[STREAM]), "gw", "sweep", 10)
    assert found is not None
    assert used_words(found) == "1.1 % of 18,000/s"


def test_a_change_that_is_looked_for_below_the_instruments_own_spread_is_warned_of(view: View) -> None:
    assert blind_lines(view()) == []  # 3 % of 42 ms is more than 0.92 − 0.31 ms
    (line,) = blind_lines(view(calibrations=[Calibration(True, 0.5, 2.6, 9_000.0)]))
    assert line == (
        "at 1 concurrent changes below 5 % may be the instrument's own (floor p50 0.50 ms, p99 2.60 ms), and "
        "3 % is looked for"
    )
    assert (
        blind_lines(view(calibrations=[Calibration(True, 0.5, 2.6, 9_000.0)], plan={"judge": {"min_effect": 0.2}}))
        == []
    )


def test_tokens_that_were_counted_as_chunks_are_said_to_be(view: View) -> None:
    assert gateway_lines(view(gateway=[facts(counted=50)])) == [
        "25 % of answers told no usage: their chunks are counted as output tokens"
    ]
