"""What `--json` writes, in the contract's words and in milliseconds."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from flows.outputs import judge_json, night_json, open_json, sweep_json
from storage.records import (
    Calibration,
    Ceiling,
    Cell,
    Cost,
    Estimate,
    GatewayFacts,
    Series,
    Slo,
    SloResult,
    Verdict,
)
from tasks.report.view import RunView
from tests.fakes.records import QUIET, leg, run


@pytest.fixture
def view(make: Callable[..., Any]) -> RunView:
    """A sweep at 1 and 4 of which only 1 was measured, twice; and a replay."""
    one = run(
        run_id="r1",
        flow="sweep",
        plan=make().model_dump(mode="json"),
        environment={"cpu_model": "Fast", "cores": 2},
        report="/data/runs/r1/report.html",
    )
    quiet = replace(QUIET, schedule_lag_p50_ms=0.1, schedule_lag_p99_ms=0.5, schedule_lag_max_ms=2.0)
    base = leg(requests=20, leg_id="b1", level=1, ok=19, failed={"http_5xx": 1}, health=quiet)
    legs = [
        base,
        replace(base, leg_id="b2", block=2, validity="suspect", reasons=["late"], failed={"http_5xx": 1, "reset": 2}),
        replace(base, leg_id="again", attempt="confirm", ok=0, failed={"empty": 20}),
        replace(base, leg_id="c", target="control", health=replace(quiet, schedule_lag_max_ms=99.0)),
        replace(base, leg_id="p", trial_id="p", series="replay", level=0, loop="open"),
    ]
    cells = [
        Cell("first", "gw", "sweep", 1, "latency_p50", Estimate(0.04, 0.039, 0.041, 40, 2)),
        Cell("first", "gw", "sweep", 1, "latency_p99", Estimate(0.09, None, None, 40, 2, at_least=True)),
        Cell("first", "gw", "sweep", 1, "throughput", Estimate(24.5, 24.0, 25.0, 40, 2)),
        Cell("confirm", "gw", "sweep", 1, "latency_p50", Estimate(9.0, 8.0, 10.0, 40, 2)),
        Cell("first", "gw", "replay", 0, "response_p50", Estimate(0.05, None, None, 20, 1)),
    ]
    nights = pl.DataFrame(
        [(night, "gw", "sweep", 1, "latency_p50", 0.04, 40) for night in (0, 0, 1)],
        schema=["night", "target", "series", "level", "metric", "value", "n"],
        orient="row",
    )
    return RunView(
        run=one,
        legs=legs,
        cells=cells,
        verdicts=[Verdict("gw", "sweep", "latency_p50", 1, 0.01, -0.02, 0.04, 0.3, 0.09, "unchanged", "")],
        slo_results=[SloResult(Slo("p95(latency) < 1s", "p95", "latency", 1.0, None), "gw", "replay", 0, 0.05, True)],
        ceilings=[Ceiling("gw", Estimate(24.5, 24.0, 25.0, 40, 2), 1, False, "none")],
        calibrations=[Calibration(True, 0.3, 0.9, 9000.0)],
        history=nights,
        profile=None,
        profile_words=None,
        baseline_runs=[],
    )


def test_a_sweep_has_the_contract_s_keys(view):
    found = sweep_json(view)
    wanted = {"schema", "run_id", "target", "requests_per_level", "levels", "ceiling", "instrument", "fingerprint"}
    assert wanted | {"report"} <= set(found)
    assert found["schema"] == "gatebench.sweep/1"
    assert found["target"] == {"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m"}
    of_level = (
        "concurrency requests ok failed dropped validity reasons latency_ms ttft_ms tpot_ms itl_ms throughput_rps"
    )
    assert set(of_level.split()) | {"output_tokens_per_s", "goodput_rps"} <= set(found["levels"][0])
    assert json.loads(json.dumps(found)) == found


def test_a_level_sums_its_blocks_and_leaves_the_confirm_and_the_control_out(view):
    (level,) = sweep_json(view)["levels"]
    assert (level["concurrency"], level["requests"], level["ok"]) == (1, 40, 38)
    assert level["failed"] == {"http_5xx": 2, "reset": 2}
    assert (level["validity"], level["reasons"]) == ("suspect", ["late"])


def test_seconds_become_milliseconds_and_what_is_not_known_is_null(view):
    (level,) = sweep_json(view)["levels"]
    p50 = level["latency_ms"]["p50"]
    assert (p50["point"], p50["lower"], p50["upper"]) == pytest.approx((40.0, 39.0, 41.0))
    assert (p50["n"], p50["blocks"], p50["at_least"]) == (40, 2, False)
    p99 = level["latency_ms"]["p99"]
    assert (p99["lower"], p99["upper"], p99["at_least"]) == (None, None, True)
    assert level["latency_ms"]["p95"] is None
    assert (level["ttft_ms"], level["goodput_rps"]) == (None, None)
    assert level["throughput_rps"]["point"] == 24.5


def test_the_ceiling_says_whether_it_was_reached_and_what_limited_it(view):
    ceiling = sweep_json(view)["ceiling"]
    assert (ceiling["throughput_rps"]["point"], ceiling["concurrency"]) == (24.5, 1)
    assert (ceiling["reached"], ceiling["limited_by"]) == (False, "none")
    assert sweep_json(replace(view, ceilings=[]))["ceiling"] is None


def test_the_instrument_stands_beside_the_result_with_the_worst_lag_of_a_target(view):
    found = sweep_json(view)["instrument"]
    assert [shape["stream"] for shape in found.pop("shapes")] == [True]
    assert found == {
        "floor_ms": {"p50": 0.3, "p99": 0.9},
        "ceiling_rps": 9000.0,
        "schedule_lag_ms": {"p50": 0.1, "p99": 0.5, "max": 2.0},
    }
    assert sweep_json(replace(view, calibrations=[]))["instrument"] is None


def test_of_several_shapes_the_higher_floor_and_the_lower_ceiling_stand_for_the_run(view):
    plain = Calibration(False, 0.1, 1.2, 20_000.0)
    found = sweep_json(replace(view, calibrations=[plain, *view.calibrations]))["instrument"]
    assert (found["floor_ms"]["p50"], found["ceiling_rps"], len(found["shapes"])) == (0.3, 9000.0, 2)


def test_floor_ceiling_and_the_share_used_stand_beside_each_level(view):
    (level,) = sweep_json(view)["levels"]
    assert level["instrument"] == {
        "floor_ms": {"p50": 0.3, "p99": 0.9},
        "ceiling_rps": 9000.0,
        "used": 200.0 / 9000.0,
        "transport": "wire",
    }


def cost(model: str, level: int, usd: float | None, **changes: Any) -> Cost:
    made = Cost("b1", "first", "gw", "sweep", level, model, 10, 1, 1000, 400, 50, usd, 2, 5, usd and usd / 10)
    return replace(made, **changes)


def test_cost_is_told_of_the_run_of_each_model_and_of_each_level(view):
    found = sweep_json(replace(view, costs=[cost("m", 1, 0.5), cost("n", 1, 0.25), cost("m", 4, 0.25)]))
    assert (found["cost"]["usd"], found["cost"]["requests"], found["cost"]["unknown"]) == (1.0, 30, 3)
    assert found["cost"]["usd_per_1000_requests"] == pytest.approx(1.0 / 30 * 1000)
    assert [(m["target"], m["model"], m["usd"]) for m in found["cost"]["models"]] == [
        ("gw", "m", 0.75),
        ("gw", "n", 0.25),
    ]
    assert found["levels"][0]["cost"]["usd"] == 0.75


def test_without_a_price_for_every_model_there_are_tokens_and_no_dollars(view):
    found = sweep_json(replace(view, costs=[cost("m", 1, 0.5), cost("n", 1, None)]))["cost"]
    assert (found["usd"], found["input_tokens"], found["cached_tokens"], found["output_tokens"]) == (
        None,
        2000,
        800,
        100,
    )
    refused = cost("n", 1, None, input_tokens=0, output_tokens=0)
    assert sweep_json(replace(view, costs=[cost("m", 1, 0.5), refused]))["cost"]["usd"] == 0.5


def test_what_the_gateway_did_is_told_of_each_level_and_warned_of(view):
    facts = GatewayFacts(
        *("first", "gw", "sweep", 1, 40, 38, 40, {"200": 38, "429": 2}, {"rate_limited": 2}, {"stop": 38}, 2, 2),
        *(1.0, 3.0, 0, 0, 0, 0, 19, 38, 0, 38, [("m", "m", 38)]),
    )
    found = sweep_json(replace(view, gateway=[facts]))
    gateway = found["levels"][0]["gateway"]
    assert (gateway["rate_limited"], gateway["retry_after_max_s"], gateway["cache_hits"]) == (2, 3.0, 19)
    assert gateway["models"] == [{"asked": "m", "served": "m", "answers": 38}]
    assert "50 % of answers came from the gateway's cache" in found["warnings"]
    assert sweep_json(view)["levels"][0]["gateway"] is None


def test_an_open_loop_is_one_trial_a_target_with_its_response_times(view):
    found = open_json(view, Series.REPLAY)
    assert found["schema"] == "gatebench.replay/1"
    (trial,) = found["trials"]
    assert (trial["target"], trial["response_ms"]["p50"]["point"]) == ("gw", 50.0)
    assert open_json(view, Series.LOAD)["trials"] == []


def test_a_night_holds_verdicts_objectives_levels_and_the_replay(view):
    found = night_json(view)
    assert (found["schema"], found["verdict"], found["history_n"]) == ("gatebench.nightly/1", "unchanged", 2)
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["unchanged"]
    assert found["slos"][0]["ok"] is True
    (target,) = found["targets"]
    assert [level["concurrency"] for level in target["levels"]] == [1]
    assert target["replay"]["requests"] == 20
    assert json.loads(json.dumps(found)) == found


def test_a_judgement_names_the_run_the_word_and_the_nights_behind_it(view):
    found = judge_json(view)
    assert (found["schema"], found["run_id"], found["verdict"]) == ("gatebench.judge/1", "r1", "unchanged")
    assert (found["history_n"], len(found["verdicts"])) == (2, 1)
    assert judge_json(replace(view, history=None))["history_n"] == 0
