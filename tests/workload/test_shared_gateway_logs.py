"""Real logs, counted to the row against an independent slow reading. Skipped where they are not."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tasks.workload.capture import capture

LOGS = Path(__file__).parents[3] / "shared" / "data" / "gateway-logs"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not LOGS.is_dir(), reason="needs ../shared/data/gateway-logs beside the checkout"),
]


def slow(name: str) -> list[dict]:
    """One dict a call: start, model asked, tokens, stream, failure. Written apart from the adapter, on purpose."""
    calls: dict[str, list[dict]] = {}
    for line in (LOGS / name).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["call_type"] == "acompletion":
            calls.setdefault(record["litellm_call_id"], []).append(record)
    found = []
    for attempts in calls.values():
        good = [a for a in attempts if a["status"] == "success"]
        bad = sorted((a for a in attempts if a["status"] == "failure"), key=lambda a: a["endTime"])
        final = good[0] if good else bad[-1]
        streams = [a["model_parameters"]["stream"] for a in attempts if "stream" in a["model_parameters"]]
        found.append(
            {
                "start": min(a["startTime"] for a in attempts),
                "model": (bad or good)[0]["model_group"],
                "input": next((a["prompt_tokens"] for a in [*good, *bad] if a["prompt_tokens"]), None),
                "output": final["completion_tokens"] if good else None,
                "stream": bool(streams and streams[0]),
                "failed": not good,
            }
        )
    return sorted(found, key=lambda call: call["start"])


@pytest.mark.parametrize(
    ("name", "rows", "calls"),
    [("litellm_standard_logging.jsonl", 300, 300), ("litellm_faults.jsonl", 60, 58)],
)
def test_a_real_log_is_captured_right_to_the_row(name, rows, calls):
    captured = capture([LOGS / name])
    assert (captured.ledger.read, captured.ledger.kept) == (rows, calls)
    assert captured.rejects == ()
    expected = slow(name)
    first = expected[0]["start"]
    key = Counter(
        (round((c["start"] - first) * 1e6), c["model"], c["input"], c["output"], c["stream"], c["failed"])
        for c in expected
    )
    got = Counter(
        (a.offset_ns // 1000, a.model, a.input_tokens, a.output_tokens, a.stream, a.failure is not None)
        for a in captured.workload.arrivals()
    )
    assert got == key


def test_both_logs_together_are_one_workload_in_time():
    workload = capture([LOGS / "litellm_standard_logging.jsonl", LOGS / "litellm_faults.jsonl"]).workload
    assert len(workload) == 358
    assert workload.frame["offset_ns"].is_sorted()


def slow_spans() -> list[tuple]:
    """Start, model asked, tokens, stream and failure of every chat span. Written apart from the adapter, on purpose."""
    found = []
    for line in (LOGS / "litellm_otlp_spans.jsonl").read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    of = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
                    if of.get("gen_ai.operation.name") == "chat":
                        failed = span["status"]["code"] == "STATUS_CODE_ERROR"
                        usage = [f"gen_ai.usage.{kind}_tokens" for kind in ("input", "output")]
                        tokens = [int(of[name]) if name in of else None for name in usage]
                        stream = of.get("gen_ai.request.stream", False)
                        start = int(span["startTimeUnixNano"])
                        found.append((start, of["litellm.model_group"], *tokens, stream, failed))
    return sorted(found)


def test_real_spans_are_captured_right_to_the_row_and_none_counts_twice():
    captured = capture([LOGS / "litellm_otlp_spans.jsonl"])
    assert captured.ledger.in_words() == "279 rows read = 29 kept + 250 dropped (250 a span of no model)"
    expected = slow_spans()
    got = [
        (a.offset_ns, a.model, a.input_tokens, a.output_tokens, a.stream, a.failure is not None)
        for a in captured.workload.arrivals()
    ]
    assert got == [(call[0] - expected[0][0], *call[1:]) for call in expected]


def test_the_folder_of_all_logs_is_one_workload_and_a_call_that_two_of_them_hold_counts_once():
    captured = capture([LOGS], privacy="structure", salt=b"a salt of sixteen bytes")
    assert captured.skipped == ()
    assert [(Path(r.source).name, r.line) for r in captured.rejects] == [("portkey_log_stream.sse", 837)]  # cut there
    assert {"litellm", "nginx", "otlp"} < set(captured.workload.header.formats)
    assert captured.ledger.dropped["duplicate call id"] > 2
    assert captured.workload.frame["offset_ns"].is_sorted()
