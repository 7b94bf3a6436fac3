"""Read back by the client library's strict parser, and by that of the older text that node-exporter knows."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from storage.records import Comparison
from tasks.export.openmetrics import openmetrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """(name, labels) -> value, the plan left out; raises ValueError for what OpenMetrics does not allow."""
    samples = [s for family in openmetrics_parser.text_string_to_metric_families(text) for s in family.samples]
    assert {s.labels["plan"] for s in samples} == {"nightly"}
    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())  # of twins it keeps one
    return {(s.name, tuple(sorted((k, v) for k, v in s.labels.items() if k != "plan"))): s.value for s in samples}


def at(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


PLACE = {"target": "gw", "series": "sweep", "level": "10"}


def test_a_run_is_read_back_by_a_strict_parser_with_its_numbers_in_base_units(found: Callable[..., Any]) -> None:
    got = read(openmetrics(found()))
    assert at(got, "gatebench_latency_seconds", **PLACE, stat="p95") == 0.212
    assert at(got, "gatebench_latency_lower_seconds", **PLACE, stat="p95") == pytest.approx(0.1908)
    assert at(got, "gatebench_response_seconds", target="gw", series="replay", level="0", stat="p95") == 0.4
    assert at(got, "gatebench_throughput_requests_per_second", **PLACE) == 80
    assert at(got, "gatebench_errors_ratio", **PLACE) == 0.03
    assert at(got, "gatebench_ceiling_requests_per_second", target="gw", limited_by="capacity") == 80
    assert at(got, "gatebench_cost_dollars", target="gw", model="m") == 0.75
    assert at(got, "gatebench_instrument_floor_seconds", stream="true", transport="wire", stat="p50") == 0.00031
    assert at(got, "gatebench_run_start_timestamp_seconds") == 1772940600
    assert at(got, "gatebench_run_duration_seconds") == 660


def test_what_was_judged_is_one_or_nought(found: Callable[..., Any]) -> None:
    got = read(openmetrics(found()))
    assert at(got, "gatebench_run_verdict", verdict="regressed") == 1
    assert at(got, "gatebench_run_verdict", verdict="unchanged") == 0
    assert at(got, "gatebench_change_ratio", **PLACE, metric="latency_p95") == 0.48
    assert at(got, "gatebench_change_regressed", **PLACE, metric="latency_p95") == 1
    assert at(got, "gatebench_change_regressed", **{**PLACE, "level": "all"}, metric="latency_p95") == 0
    replay = {"target": "gw", "series": "replay", "level": "0"}
    assert at(got, "gatebench_objective_met", **replay, objective="p95(latency) < 500ms") == 1
    assert (
        at(got, "gatebench_objective_met", **replay, objective='rate(errors) < 1% "x"') == 0
    )  # nothing to judge it by


def test_the_blocks_of_a_load_are_added_and_the_second_measurement_is_left_out(found: Callable[..., Any]) -> None:
    got = read(openmetrics(found()))
    assert at(got, "gatebench_measured_requests", **PLACE) == 200
    assert at(got, "gatebench_failed_requests", **PLACE, failure="timeout_total") == 4
    assert at(got, "gatebench_measurement_valid", **PLACE) == 1
    assert [key for key in got if key[0] == "gatebench_latency_seconds"] == [
        ("gatebench_latency_seconds", (("level", "10"), ("series", "sweep"), ("stat", "p95"), ("target", "gw")))
    ]


def test_an_absent_number_is_an_absent_sample(found: Callable[..., Any]) -> None:
    text = openmetrics(found(ended_at=None, exit_code=None, cells=[], verdicts=[], slo_results=[], costs=[], legs=[]))
    got = read(text)
    assert {name for name, _ in got} == {
        "gatebench_run_info",
        "gatebench_run_start_timestamp_seconds",
        "gatebench_run_verdict",
        "gatebench_incidents_open",
        "gatebench_ceiling_requests_per_second",
        "gatebench_ceiling_reached",
        "gatebench_instrument_floor_seconds",
    }
    assert "latency_upper" not in openmetrics(found())  # no estimate of the small run has an upper end
    assert "NaN" not in text


def test_targets_side_by_side_are_told_by_their_difference(found: Callable[..., Any]) -> None:
    numbers = (0.1, 0.12, 0.2, 0.1, 0.3, 0.02, 0.01, 0.03, 0.001, 0.05, None)
    pair = Comparison("a", "b", "candidate", "latency_p50", None, *numbers, 5, 1000, False, True, "regressed", "")
    got = read(openmetrics(found(comparisons=[pair])))
    labels = {"baseline": "a", "target": "b", "level": "all", "metric": "latency_p50"}
    assert at(got, "gatebench_difference_ratio", **labels) == 0.2
    assert at(got, "gatebench_difference_regressed", **labels) == 1


def test_names_that_hold_quotes_and_control_characters_stay_one_label(found: Callable[..., Any]) -> None:
    name = 'a"b\\c\nd'
    cells = [c for c in found().cells if c.metric == "throughput"]
    text = openmetrics(found(plan_name="nightly", cells=[type(c)("first", name, *_rest(c)) for c in cells]))
    got = read(text)
    assert at(got, "gatebench_throughput_requests_per_second", **{**PLACE, "target": 'a"b\\c d'}) == 80


def test_node_exporter_s_older_text_says_the_same(found: Callable[..., Any]) -> None:
    text = openmetrics(found())
    families = list(parser.text_string_to_metric_families(text))
    assert {family.type for family in families} == {"gauge"}
    assert all(s.timestamp is None for family in families for s in family.samples)
    old = {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}
    assert len(old) == len(read(text))


def _rest(cell: Any) -> tuple[Any, ...]:
    return cell.series, cell.level, cell.metric, cell.estimate
