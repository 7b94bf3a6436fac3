import pytest

from tasks.alerts.message import LONGEST_LINE, Message, clean, compose


def made(**changes: object) -> Message:
    fields: dict[str, object] = {
        "kinds": ["regressed", "slo"],
        "plan": "nightly",
        "run_id": "r7",
        "started_at": "2026-03-08T03:30:00+00:00",
        "headline": "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights.",
        "regressed": ["p95 latency at 10 concurrent is 212 ms, +48 %", "p99 latency at 10 concurrent is 260 ms, +51 %"],
        "objectives": ["p95(latency){level=10} < 200ms: measured 212 ms"],
        "since": None,
        "against": ["r0", "r1", "r6"],
        "show": "gatebench show r7",
        "report": "/data/runs/r7/report.html",
    }
    return compose(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_message_says_what_how_much_since_when_against_what_and_the_command() -> None:
    assert made() == Message(
        "gatebench: nightly regressed and objective broken",
        "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights.\n\n"
        "Regressed:\n"
        "- p95 latency at 10 concurrent is 212 ms, +48 %\n"
        "- p99 latency at 10 concurrent is 260 ms, +51 %\n\n"
        "Since: tonight, 2026-03-08T03:30:00+00:00\n"
        "Against: 3 nights, r0 to r6\n"
        "Run: r7\n"
        "Show: gatebench show r7\n"
        "Report: /data/runs/r7/report.html",
    )


def test_an_older_regression_says_since_when() -> None:
    assert "Since: 2026-03-05" in made(since="2026-03-05").body


def test_many_regressions_are_counted_not_listed() -> None:
    body = made(regressed=[f"number {k}" for k in range(20)]).body
    assert "- number 7\n- and 12 more" in body
    assert "number 8" not in body


def test_what_a_target_said_is_one_short_line_without_control_characters() -> None:
    body = made(headline="bad\x1b[2J\r\nFrom: evil\u202e" + "x" * 5000).body
    first = body.split("\n\n")[0]
    assert first.startswith("bad [2J From: evil xxx")
    assert len(first) == LONGEST_LINE
    assert "\x1b" not in body


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdef1234567890",
        "Bearer abc.def",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIx.abc",
        "https://user:pass@host",
    ],
)
def test_what_looks_like_a_key_is_removed(secret: str) -> None:
    body = made(headline=f"the target said {secret} and stopped").body
    assert secret not in body
    assert "pass@" not in body
    assert "[removed]" in body


def test_ordinary_words_are_not_taken_for_keys() -> None:
    for text in ("risk-model at 10 concurrent", "task-1234567890 failed", "http://127.0.0.1:4000/v1"):
        assert clean(text) == text


def test_what_became_of_incidents_is_a_line_each_and_a_fix_has_its_own_title() -> None:
    told = made(kinds=["fixed"], regressed=[], objectives=[], incidents=["Incident 3 is fixed: p95 −1 %; gatebench …"])
    assert told.title == "gatebench: nightly fixed"
    assert "\n\nIncident 3 is fixed: p95 −1 %; gatebench …\n\nSince: " in told.body


def test_an_objective_that_is_kept_again_is_told_with_what_was_measured() -> None:
    told = made(kinds=["kept"], regressed=[], objectives=[], kept=["p95(latency) < 200ms: measured 180 ms"])
    assert told.title == "gatebench: nightly objective kept again"
    assert "\n\nKept again: p95(latency) < 200ms: measured 180 ms\n\nSince: " in told.body
