"""What looked for the ceiling is shown, told as JSON, and never judged."""

from dataclasses import replace

from flows.outputs_ceiling import sustained_json
from storage.records import Cell, Estimate, Sustained, Verdict
from tasks.judge import valid, word
from tasks.publish import levels_first
from tasks.report.view import RunView
from tests.fakes.probes import tried
from tests.fakes.records import leg
from tests.report.conftest import VIEW

UNCHANGED = Verdict("gw", "sweep", "latency_p95", 10, 0.0, None, None, 0.5, 0.1, "unchanged", "")
FIRST, WIDER, RATE = leg(), leg(attempt="probe", level=200), leg(attempt="probe", series="load", level=1)


def test_a_level_beyond_the_plan_is_shown_beside_the_others_and_a_rate_is_not_a_leg_of_the_report() -> None:
    assert levels_first([FIRST, WIDER, RATE]) == [FIRST, replace(WIDER, attempt="first")]
    cells = [
        Cell("probe", "gw", series, 1, "throughput", Estimate(1.0, None, None, 1, 1)) for series in ("sweep", "load")
    ]
    assert [(c.attempt, c.series) for c in levels_first(cells)] == [("first", "sweep")]


def test_a_night_in_which_only_the_search_was_invalid_is_valid() -> None:
    class Segment:
        target, series = "gw", "sweep"

    spoilt = [replace(one, validity="invalid") for one in (WIDER, RATE)]
    assert word([UNCHANGED], [FIRST, *spoilt]) == "unchanged"
    assert word([UNCHANGED], [replace(FIRST, validity="invalid"), *spoilt]) == "invalid"
    assert valid([FIRST, *spoilt], Segment())  # type: ignore[arg-type]
    assert not valid([WIDER], Segment())  # type: ignore[arg-type]


def test_what_was_tried_is_told_as_json_with_times_in_ms() -> None:
    rate = Estimate(798.0, 790.0, None, 8000, 2, at_least=True)
    probes = [tried(1, 798.0), tried(2, 858.0, "generator", latency_p95_s=None)]
    view: RunView = replace(VIEW, sustained=[Sustained("gw", rate, False, "generator", True, "we were", probes)])
    told = sustained_json(view, "gw")
    assert told["sustainable_rps"] == {
        "point": 798.0, "lower": 790.0, "upper": None, "n": 8000, "blocks": 2, "at_least": True,
    }  # fmt: skip
    assert told["sustainable"] == {"reached": False, "limited_by": "generator", "confirmed": True, "why": "we were"}
    assert [(r["rate_rps"], r["sustained"], r["latency_p95_ms"]) for r in told["rates"]] == [
        (798.0, True, 50.0),
        (858.0, None, None),
    ]
    assert sustained_json(view, "other") == {"sustainable_rps": None, "sustainable": None, "rates": []}
