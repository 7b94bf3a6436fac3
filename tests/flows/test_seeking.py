"""The legs that a search for the ceiling is made of, and what it will cost."""

import polars as pl
import pytest

from config.ceiling_form import CeilingForm, ceiling_parts
from config.forms import SweepForm, TargetForm, plan_from
from config.plan import PlanError
from flows.forecast import forecast
from flows.legs import label_of
from flows.seeking import least_requests, level_specs, load_of, quickest_s, rate_spec
from storage.records import Attempt, Cell, Estimate, Series, Slo
from tasks.ceiling import search_of
from tests.fakes.probes import tried

WORKLOAD = pl.DataFrame(
    {"model": ["m"], "offset_ns": [0], "input_tokens": [10], "output_tokens": [5], "duration_ns": [50_000_000]}
)


def cell(metric: str, level: int, point: float, attempt: str = "first") -> Cell:
    return Cell(attempt, "gw", "sweep", level, metric, Estimate(point, point * 0.99, point * 1.01, 100, 5))


SWEPT = [cell("throughput", 1, 25), cell("throughput", 4, 100), cell("latency_p95", 1, 0.04)]


def test_a_level_beyond_the_plan_has_as_many_blocks_and_enough_requests_and_no_control(make, setting):
    plan = make(sweep={"levels": [1, 4], "requests": 40, "blocks": 5, "extend_to": 64})
    specs = level_specs(setting(plan), plan.targets[0], 64)
    assert [(s.level, s.block, s.requests, s.target.name) for s in specs] == [(64, b, 128, "gw") for b in range(1, 6)]
    assert {(s.attempt, s.series, s.trial_id) for s in specs} == {("probe", "sweep", "probe-sweep-gw-c64")}


def test_a_rate_is_a_leg_of_its_own_that_is_given_up_with_too_many_under_way(make, setting):
    plan = make(ceiling={"duration_s": 8, "max_in_flight": 300}, sweep={"stream": False})
    spec = rate_spec(setting(plan), plan.targets[0], 50.0, 3, least=0, quickest_s=None)
    assert (spec.attempt, spec.series, spec.level, spec.loop) == (Attempt.PROBE, Series.LOAD, 3, "open")
    assert (spec.rate_rps, spec.duration_s, spec.cv, spec.stream) == (50, 8, None, False)
    assert (spec.on_full, spec.max_in_flight) == ("abort", 300)
    assert spec.leg_id == spec.trial_id == "probe-load-gw-03"
    assert spec.folder.endswith("runs/r1/probe-load-gw-03")
    assert label_of(spec) == "gw, 50/s"


def test_a_rate_is_tried_for_as_long_as_its_requests_and_a_few_latencies_take(make):
    asked = make(ceiling={"duration_s": 10, "requests": 200}).ceiling
    seconds = [load_of(asked, rate, least, quick).duration_s for rate, least, quick in (
        (100, 0, 0.05), (5, 0, 0.05), (5, 500, 0.05), (100, 0, 20.0), (100, 0, None),
    )]  # fmt: skip
    assert seconds == [10, 40, 100, 80, 10]
    drawn = make(ceiling={"arrivals": "poisson"}).ceiling
    assert load_of(drawn, 100, 0, None).spread == 1.0


def test_the_warm_up_is_at_least_two_latencies_long(make, setting):
    plan = make()
    warm = [rate_spec(setting(plan), plan.targets[0], 50.0, 1, 0, quick).warmup_s for quick in (None, 0.04, 3.0, 99.0)]
    assert warm == [1.0, 1.0, 6.0, 30.0]


def test_a_high_quantile_needs_more_requests():
    def slo(stat: str, level: int | None = None) -> Slo:
        return Slo("", stat, "latency", 0.5, level)

    assert least_requests([]) == least_requests([slo("mean"), slo("rate"), slo("p99", 10)]) == 0
    assert (least_requests([slo("p95")]), least_requests([slo("p50"), slo("p99")])) == (100, 500)


def test_the_quickest_latency_is_of_the_sweep_or_of_the_rates_so_far(make):
    target = make().targets[0]
    assert quickest_s(target, SWEPT, []) == 0.04
    assert quickest_s(target, [], [tried(1, 10, latency_p95_s=0.3), tried(2, 20, latency_p95_s=None)]) == 0.3
    assert quickest_s(target, [], []) is None


def test_the_search_begins_a_little_below_what_the_sweep_reached_and_ends_a_tenth_beyond(make):
    search = search_of(make(), "gw", SWEPT, [])
    assert search is not None
    assert (search.start_rps, search.max_rps) == (pytest.approx(97), pytest.approx(110))


def test_a_sweep_that_was_not_sure_may_be_exceeded_as_far_as_its_interval(make):
    unsure = [*SWEPT[:1], Cell("first", "gw", "sweep", 4, "throughput", Estimate(100, 70, 150, 100, 5))]
    search = search_of(make(), "gw", unsure, [])
    assert search is not None and search.max_rps == 150


def test_it_begins_at_what_kept_the_objectives(make):
    good = [*SWEPT, cell("goodput", 1, 25), cell("goodput", 4, 40)]
    search = search_of(make(), "gw", good, [])
    assert search is not None
    assert (search.start_rps, search.max_rps) == (pytest.approx(38.8), pytest.approx(110))
    none = search_of(make(), "gw", [*SWEPT, cell("goodput", 4, 0.0)], [])
    assert none is not None and none.start_rps == pytest.approx(97)


def test_the_plan_says_where_to_begin_and_how_far_to_go(make):
    plan = make(ceiling={"start_rps": 10, "max_rps": 60, "tolerance": 0.1, "most": 5})
    search = search_of(plan, "gw", SWEPT, [])
    assert search is not None
    assert (search.start_rps, search.max_rps, search.tolerance, search.most) == (10, 60, 0.1, 5)
    capped = search_of(make(ceiling={"max_rps": 60}), "gw", SWEPT, [])
    assert capped is not None and (capped.start_rps, capped.max_rps) == (60, 60)


def test_without_anything_to_begin_with_there_is_no_search(make):
    assert search_of(make(), "gw", [], []) is None
    assert search_of(make(), "other", SWEPT, []) is None


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"start_rps": 100, "max_rps": 50}, r"ceiling: start_rps \(100\) lies above max_rps \(50\)"),
        (
            {"start_rps": 100},
            "ceiling: start_rps is tried without a sweep before it, so max_rps must say how far to go",
        ),
        ({"duration": 5}, "unknown key 'ceiling.duration'; did you mean 'duration_s'"),
        ({"most": 1}, "ceiling.most: "),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(make, part, said):
    with pytest.raises(PlanError, match=said):
        make(ceiling=part)


def test_a_search_of_a_plan_with_several_targets_wants_one_named(two):
    assert [target.name for target in two.only_one("direct").targets] == ["direct"]
    with pytest.raises(PlanError, match=r"several targets \(gw, direct\); choose one with --target NAME"):
        two.only_one(None)


def test_the_search_does_not_move_what_nights_are_compared_by(make):
    assert make().measuring() == make(ceiling={"enabled": True, "most": 3}).measuring()


def test_a_form_asks_for_a_sweep_without_a_control_and_for_rates_after_it():
    parts = ceiling_parts(SweepForm(control=False), CeilingForm(max_rps=80, extend_to=400))
    plan = plan_from(TargetForm(), **parts)
    assert (plan.ceiling.enabled, plan.ceiling.max_rps, plan.sweep.extend_to) == (True, 80, 400)
    assert (plan.control.enabled, plan.replay.enabled) == (False, False)


def test_a_forecast_counts_the_rates_that_are_tried(make):
    without = forecast(make(), WORKLOAD, sweep=True, replay=False)
    within = forecast(make(ceiling={"max_rps": 50}), WORKLOAD, sweep=True, replay=False, ceiling=True)
    alone = forecast(make(ceiling={"max_rps": 50}), WORKLOAD, sweep=False, replay=False, ceiling=True)
    assert within.requests - without.requests == alone.requests == 8 * 50 * 11
    assert alone.minutes == pytest.approx((8 * 11.05 + 5) / 60)
    few = make(ceiling={"max_rps": 50, "most": 2})
    assert forecast(few, WORKLOAD, sweep=False, replay=False, ceiling=True).requests == 2 * 50 * 11
