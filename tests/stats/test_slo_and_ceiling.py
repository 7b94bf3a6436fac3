from dataclasses import replace
from typing import Any

from storage.records import Cell, Estimate, Slo
from tasks.stats.ceiling import ceiling, next_level
from tasks.stats.slo import check
from tests.fakes.records import leg

REPLAY_SLO = Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None)
LEVEL_SLO = Slo("p95(latency){level=10} < 300ms", "p95", "latency", 0.3, 10)
ERRORS_SLO = Slo("rate(errors) < 1%", "rate", "errors", 0.01, None)


def cell(level: int, metric: str, point: float, *, series: str = "sweep", target: str = "gw", **rest: Any) -> Cell:
    return Cell("first", target, series, level, metric, Estimate(point, None, None, 100, 5, **rest))


def test_an_unscoped_objective_judges_the_replay_and_not_the_levels() -> None:
    found = check([REPLAY_SLO], [cell(0, "latency_p95", 0.4, series="replay"), cell(100, "latency_p95", 9.0)])
    assert [(r.series, r.level, r.point, r.ok) for r in found] == [("replay", 0, 0.4, True)]


def test_a_scoped_objective_judges_its_level() -> None:
    found = check([LEVEL_SLO], [cell(10, "latency_p95", 0.31), cell(1, "latency_p95", 0.1)])
    assert [(r.level, r.ok) for r in found] == [(10, False)]


def test_no_data_never_passes() -> None:
    assert [r.ok for r in check([LEVEL_SLO], [cell(1, "latency_p95", 0.1)])] == [None]
    assert [r.ok for r in check([REPLAY_SLO], [cell(0, "errors", 0.0, series="replay")])] == [None]


def test_a_quantile_that_is_only_known_from_below_passes_nothing_but_may_fail() -> None:
    kept = check([REPLAY_SLO], [cell(0, "latency_p95", 0.4, series="replay", at_least=True)])
    broken = check([REPLAY_SLO], [cell(0, "latency_p95", 0.6, series="replay", at_least=True)])
    assert [r.ok for r in kept + broken] == [None, False]


def test_in_an_open_loop_an_objective_on_latency_counts_from_when_a_request_was_due() -> None:
    cells = [cell(0, "latency_p95", 0.02, series="replay"), cell(0, "response_p95", 2.05, series="replay")]
    assert [(r.point, r.ok) for r in check([REPLAY_SLO], cells)] == [(2.05, False)]


def test_an_error_objective_is_a_share() -> None:
    found = check([ERRORS_SLO], [cell(0, "errors", 0.02, series="replay")])
    assert [r.ok for r in found] == [False]


def test_the_control_is_never_judged() -> None:
    assert check([LEVEL_SLO], [cell(10, "latency_p95", 9.0, target="control")]) == []


def rates(*points: float) -> list[Cell]:
    return [cell(level, "throughput", point) for level, point in zip((1, 10, 50, 100), points, strict=False)]


LEGS = [leg(level=level) for level in (1, 10, 50, 100)]


def test_a_flat_top_is_the_ceiling() -> None:
    found = ceiling("gw", rates(25, 250, 800, 805), LEGS)
    assert found is not None
    assert (found.throughput_rps.point, found.concurrency, found.reached, found.limited_by) == (
        805,
        50,
        True,
        "capacity",
    )
    assert found.knee == 50


def test_a_rising_top_is_only_at_least() -> None:
    found = ceiling("gw", rates(25, 250, 800, 1600), LEGS)
    assert found is not None
    assert (found.throughput_rps.point, found.reached, found.limited_by, found.knee) == (1600, False, "none", None)


def test_one_level_finds_no_ceiling() -> None:
    found = ceiling("gw", rates(25), [leg(level=1)])
    assert found is not None and not found.reached


def test_the_generator_as_the_limit_is_no_ceiling() -> None:
    found = ceiling(
        "gw", rates(25, 250, 250), [*LEGS[:3], leg(level=100, validity="invalid", reasons=["generator: busy"])]
    )
    assert found is not None and (found.reached, found.limited_by) == (False, "generator")


def test_a_quota_is_named_as_the_limit() -> None:
    found = ceiling("gw", rates(25, 250, 250, 251), [*LEGS[:3], leg(level=100, ok=60, failed={"rate_limited": 40})])
    assert found is not None and found.limited_by == "quota"


def test_without_throughput_there_is_no_ceiling() -> None:
    assert ceiling("gw", [cell(1, "errors", 1.0)], LEGS) is None


def test_an_objective_that_allows_its_own_value_is_kept_by_it() -> None:
    clean = [cell(0, "errors", 0.0, series="replay")]
    allowed = Slo("rate(errors) <= 0%", "rate", "errors", 0.0, None)
    not_allowed = Slo("rate(errors) < 0%", "rate", "errors", 0.0, None)
    assert [r.ok for r in check([allowed, not_allowed], clean)] == [True, False]


def test_goodput_that_stops_rising_first_names_the_objective_as_the_limit() -> None:
    good = [cell(level, "goodput", point) for level, point in zip((1, 10, 50, 100), (25, 250, 250, 100), strict=True)]
    found = ceiling("gw", rates(25, 250, 800, 1600) + good, LEGS, [REPLAY_SLO])
    assert found is not None and (found.reached, found.limited_by, found.knee) == (False, "slo", 10)


def test_failures_that_keep_throughput_flat_are_the_limit() -> None:
    found = ceiling("gw", rates(25, 250, 250, 251), [*LEGS[:3], leg(level=100, ok=60, failed={"http_5xx": 40})])
    assert found is not None and found.limited_by == "errors"


def test_what_a_lower_level_met_is_no_limit_of_the_ceiling() -> None:
    hiccup = leg(level=1, validity="invalid", reasons=["generator: busy"], ok=60, failed={"http_5xx": 40})
    found = ceiling("gw", rates(25, 250, 800, 805), [hiccup, *LEGS[1:]])
    assert found is not None and (found.reached, found.limited_by) == (True, "capacity")


def test_failures_at_the_top_level_alone_are_the_limit_however_many_levels_had_none() -> None:
    found = ceiling("gw", rates(25, 250, 800, 805), [*LEGS[:3], leg(level=100, ok=90, failed={"http_5xx": 10})])
    assert found is not None and found.limited_by == "errors"


def test_a_sweep_is_widened_by_doubling_as_far_as_allowed_while_the_top_level_finishes_the_most() -> None:
    rising = rates(25, 250, 800, 1600)
    assert next_level("gw", rising, LEGS, 800) == 200
    assert next_level("gw", rising, LEGS, 150) == 150
    assert next_level("gw", rising, LEGS, 100) is None
    wider = [*rising, replace(cell(150, "throughput", 2400), attempt="probe")]
    more = [*LEGS, leg(level=150, attempt="probe")]
    assert next_level("gw", wider, more, 150) is None
    assert next_level("gw", wider, more, 800) == 300
    found = ceiling("gw", wider, more)
    assert found is not None and (found.concurrency, found.reached) == (150, False)


def test_a_sweep_is_not_widened_beyond_a_ceiling_a_failure_or_ourselves() -> None:
    flat, rising = rates(25, 250, 800, 805), rates(25, 250, 800, 1600)
    assert next_level("gw", flat, LEGS, 800) is None
    assert next_level("gw", rising, [*LEGS[:3], leg(level=100, ok=90, failed={"http_5xx": 10})], 800) is None
    assert next_level("gw", rising, [*LEGS[:3], leg(level=100, validity="invalid", reasons=["generator"])], 800) is None
    assert next_level("gw", rising, [*LEGS, leg(level=200, attempt="probe", stopped="breaker")], 800) is None
    assert next_level("gw", [], LEGS, 800) is None


def test_a_confirm_is_no_part_of_the_ceiling() -> None:
    again = replace(cell(100, "throughput", 9000), attempt="confirm")
    found = ceiling("gw", [*rates(25, 250, 800, 805), again], LEGS)
    assert found is not None and found.throughput_rps.point == 805
