"""JUnit as its readers know it: failures, errors and skipped cases where a verdict says so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from storage.records import Comparison
from tasks.report.junit import error_xml, junit_xml


def suite(text: str) -> ET.Element:
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "testsuites"
    (only,) = root
    return only


def outcomes(text: str) -> dict[str, str]:
    """classname/name -> failure, error, skipped or passed."""
    found = {}
    for case in suite(text).iter("testcase"):
        tags = [child.tag for child in case if child.tag != "system-out"]
        found[f"{case.get('classname')}/{case.get('name')}"] = tags[0] if tags else "passed"
    return found


def test_a_regression_fails_and_what_is_unchanged_passes(view: Callable[..., Any]) -> None:
    text = junit_xml(view())
    assert outcomes(text) == {
        "gw.sweep/p95 latency at 10 concurrent": "failure",
        "gw.sweep/p95 latency at 1 concurrent": "passed",
        "gw.validity/at 1 concurrent": "passed",
        "gw.validity/at 10 concurrent": "passed",
    }
    head = suite(text)
    assert (head.get("name"), head.get("tests"), head.get("failures"), head.get("errors")) == (
        *("gatebench nightly nightly", "4", "1", "0"),
    )
    assert (head.get("time"), head.get("timestamp")) == ("660.000", "2026-03-08T03:30:00")
    failure = next(head.iter("failure"))
    assert failure.get("message") == "p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]: regressed (confirmed)"
    facts = {one.get("name"): one.get("value") for one in head.iter("property")}
    assert (facts["run"], facts["verdict"], facts["exit code"]) == ("r7", "regressed", "10")


def test_what_is_inconclusive_is_skipped_and_what_is_invalid_is_an_error(
    view: Callable[..., Any], made: dict[str, Any]
) -> None:
    unsure = replace(made["regressed"], verdict="inconclusive", reason="2 nights")
    text = junit_xml(view(verdicts=[unsure], legs=[made["leg"](10, 0, validity="invalid", reasons=["lag"])]))
    assert outcomes(text) == {
        "gw.sweep/p95 latency at 10 concurrent": "skipped",
        "gw.validity/at 10 concurrent": "error",
    }
    head = suite(text)
    assert (head.get("skipped"), head.get("errors")) == ("1", "1")
    assert next(head.iter("error")).get("message") == "100 requests measured: invalid (lag)"


def test_an_objective_without_data_never_passes(view: Callable[..., Any], made: dict[str, Any]) -> None:
    results = [
        made["objective"]("p95(latency){level=10} < 200ms", 0.2, 0.212, False),
        made["objective"]("p95(latency){level=10} < 300ms", 0.3, 0.212, True),
        made["objective"]("p95(latency){level=10} < 400ms", 0.4, None, None),
    ]
    got = outcomes(junit_xml(view(verdicts=[], slo_results=results)))
    assert [got[f"gw.objectives/p95(latency){{level=10}} < {n}ms at 10 concurrent"] for n in (200, 300, 400)] == [
        *("failure", "passed", "failure"),
    ]


def test_a_comparison_has_a_case_a_judged_number(view: Callable[..., Any]) -> None:
    numbers = (0.1, 0.12, 0.2, 0.1, 0.3, 0.02, 0.01, 0.03, 0.001, 0.05, None)

    def pair(metric: str, level: int | None, verdict: str) -> Comparison:
        return Comparison("a", "b", "candidate", metric, level, *numbers, 5, 1000, False, True, verdict, "")

    pairs = [pair("latency_p50", None, "regressed"), pair("latency_p50", 10, "inconclusive"), pair("tpot_p50", 10, "")]
    got = outcomes(junit_xml(view(verdicts=[], comparisons=pairs)))
    assert got["b.against.a/p50 latency over all levels"] == "failure"
    assert got["b.against.a/p50 latency at 10 concurrent"] == "skipped"
    assert not [name for name in got if "TPOT" in name]


def test_a_run_without_a_result_is_one_case_that_could_not_be_judged() -> None:
    text = error_xml("adhoc", "nothing answers at http://127.0.0.1:1/v1 <b>\x1b[2J")
    assert outcomes(text) == {"gatebench.adhoc/measured": "error"}
    assert "\x1b" not in text
    assert next(suite(text).iter("error")).get("message") == "nothing answers at http://127.0.0.1:1/v1 <b> [2J"
