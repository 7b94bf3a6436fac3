"""An A/A study as a person reads it, and as a program does."""

import io
import json

import pytest
from rich.console import Console

from storage.records import Noise, NoisePart, Outlook, Spread
from tasks.report.noise import noise_json, noise_markdown, render_noise, title, verdict_words


def part(level: int | None, process: Spread | None = None) -> NoisePart:
    night = Spread(0.0213, 0.0151, 0.0502)
    request = Spread(0.031, None, None)
    return NoisePart("latency_p95", level, Spread(0.012, 0.0, 0.04), process, Spread(0.02, 0.01, 0.03), request, night)


def study(**changes: object) -> Noise:
    facts: dict[str, object] = {
        "noise_id": "aa-1", "made_at": "2026-11-24T02:00:00+00:00", "source": "measured", "target": "gw",
        "workload_id": "w", "fingerprint": "f", "runs": ["r1", "r2"], "groups": 6, "processes": 2, "blocks": 5,
        "dropped": 0, "parts": [part(10, Spread(0.004, 0.0, 0.02)), part(None)], "control": part(None),
        "outlook": [Outlook(5, 0.004, 0.003, 0.14, None), Outlook(30, 0.0, 0.003, 0.06, 0.103)], "warnings": [],
        "advice": "62 % of the variance of p95 latency is what blocks have to themselves",
    }  # fmt: skip
    return Noise(**{**facts, **changes})  # type: ignore[arg-type]


def drawn(noise: Noise, width: int = 80) -> str:
    out = io.StringIO()
    render_noise(noise, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_the_tables_say_each_source_in_per_cent_and_fit_80_columns() -> None:
    lines = drawn(study()).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[1:5]] == [
        ["at", "host", "process", "block", "request", "a", "night", "[95", "%]"],
        ["p95", "latency", "10", "1.2", "0.4", "2.0", "3.1", "2.1", "[1.5,", "5.0]"],
        ["all", "levels", "1.2", "–", "2.0", "3.1", "2.1", "[1.5,", "5.0]"],
        ["our", "control", "all", "levels", "1.2", "–", "2.0", "3.1", "2.1", "[1.5,", "5.0]"],
    ]
    rows = [line.split() for line in lines if "±" in line]
    assert rows == [
        ["5", "0.4", "%", "±", "0.3", "+14", "%", "more", "than", "twice"],
        ["30", "0.0", "%", "±", "0.3", "+6", "%", "+10", "%"],
    ]


def test_a_setup_that_is_good_enough_says_what_it_sees_and_a_noisy_one_why_not() -> None:
    assert verdict_words(study()).startswith("Good enough to judge: after 30 nights of history 0.0 % of quiet nights")
    noisy = study(warnings=["of a slower tail only +63 % would be seen after 30 nights (+20 % should be)"])
    assert verdict_words(noisy) == f"Too noisy to judge: {noisy.warnings[0]}."
    assert "Too noisy to judge" in drawn(noisy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "gw against itself: 6 runs of 2 processes, 5 blocks each"),
        ({"processes": 1}, "gw against itself: 6 runs, 5 blocks each"),
        ({"source": "history", "processes": 1}, "gw, 6 stored nights of 5 blocks"),
    ],
    ids=["processes", "one process", "history"],
)
def test_the_title_says_what_it_was_made_of(changes: dict[str, object], said: str) -> None:
    assert title(study(**changes)) == said


def test_blocks_that_were_left_out_are_said() -> None:
    assert "3 blocks left out" in drawn(study(dropped=3))
    assert "left out" not in drawn(study())


def test_json_has_the_whole_study_and_a_word() -> None:
    found = json.loads(json.dumps(noise_json(study(warnings=["w"]))))
    assert (found["schema"], found["too_noisy"], found["parts"][0]["night"]["sd"]) == ("gatebench.aa/1", True, 0.0213)
    assert found["outlook"][0]["visible_tail"] is None


def test_markdown_has_both_tables() -> None:
    text = noise_markdown(study())
    assert "| p95 latency | 10 | 1.2 | 0.4 | 2.0 | 3.1 | 2.1 [1.5, 5.0] |" in text
    assert "| 30 | 0.0 % ± 0.3 | +6 % | +10 % |" in text
