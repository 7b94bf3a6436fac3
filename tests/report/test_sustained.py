"""The rate that a target keeps up with, as words, rows and sections."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from storage.records import Estimate, Sustained
from tasks.report.ceiling import probe_words, rate_rows, sustained_words
from tasks.report.headline import headline
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.record import repeat_command
from tasks.report.terminal import render_terminal
from tasks.report.view import RunView, targets
from tests.fakes.probes import tried

PROBES = [
    tried(1, 780.0, why="kept up"),
    tried(2, 858.0, "capacity", why="fell behind: 93.2% of it was finished", achieved_rps=800.0, growth=0.0725),
    tried(3, 798.0, why="kept up"),
    tried(4, 798.0, why="kept up"),
]
FOUND = Sustained("gw", Estimate(798.0, 790.0, 818.0, 8000, 2), True, "capacity", True, "", PROBES)
View = Callable[..., RunView]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "798/s [790, 818], kept up with twice; limited by its capacity"),
        ({"confirmed": False, "limited_by": "slo"}, "798/s [790, 818], kept up with once; limited by an objective"),
        (
            {
                "rate_rps": Estimate(798.0, 790.0, None, 8000, 2, at_least=True),
                "reached": False,
                "limited_by": "none",
                "why": "it keeps up with the highest rate",
            },
            "at least 798/s, twice: it keeps up with the highest rate",
        ),
        ({"reached": False, "limited_by": "generator"}, "at least 798/s [790, 818], twice: ended by gatebench itself"),
        ({"rate_rps": None, "why": "at 100/s: 40% failed"}, "none of the 4 rates tried: at 100/s: 40% failed"),
    ],
)
def test_the_answer_is_said_with_what_limited_it(changes: dict[str, object], words: str) -> None:
    assert sustained_words(replace(FOUND, **changes)) == words


def test_a_rate_is_told_as_it_was_tried() -> None:
    assert probe_words(PROBES[1]) == "858/s: fell behind: 93.2% of it was finished, p95 50.0 ms"
    assert probe_words(tried(1, 10.0, "generator", latency_p95_s=None)) == "10.0/s: generator"


def test_rates_stand_from_the_lowest_to_the_highest_with_what_did_not_hold() -> None:
    rows = rate_rows(FOUND)
    assert [(row.offered, row.word, row.kept) for row in rows] == [
        ("780/s", "kept up", True),
        ("798/s", "kept up", True),
        ("798/s", "kept up", True),
        ("858/s", "fell behind", False),
    ]
    assert (rows[-1].finished, rows[-1].growth, rows[-1].p95, rows[-1].failed) == (
        "800/s",
        "72.5 ms/s",
        "50.0 ms",
        "0 %",
    )


def test_every_place_shows_the_rates_and_the_answer(view: View) -> None:
    shown = view(sustained=[FOUND], verdict=None, verdicts=[])
    assert "sustains 798/s [790, 818], kept up with twice" in headline(shown)
    page = render_html(shown, None)
    assert "The rate it keeps up with" in page
    assert "fell behind: 93.2% of it was finished" in page
    assert 'id="chart-rates-0"' in page
    assert "### The rate it keeps up with\n\nSustains 798/s" in render_markdown(shown, charts=False)
    console = Console(width=80, record=True, highlight=False, file=io.StringIO())
    render_terminal(shown, console)
    text = console.export_text()
    assert "fell behind" in text and "sustains" in text
    assert max(len(line) for line in text.splitlines() if "/s" in line) <= 80


def test_without_a_search_no_place_speaks_of_it(view: View) -> None:
    assert "keeps up with" not in render_html(view(), None)
    assert "keeps up with" not in render_markdown(view(), charts=False)


def test_a_run_that_only_tried_rates_is_a_measured_one(view: View) -> None:
    alone = view(sustained=[FOUND], legs=[], cells=[], ceilings=[], verdict=None, verdicts=[], flow="ceiling")
    assert targets(alone) == ["gw"]
    assert headline(alone).startswith("Measured, not judged: sustains 798/s")


def test_the_command_that_repeats_a_search_has_its_objectives_and_its_ends(view: View) -> None:
    plan = {
        "targets": [{"url": "http://127.0.0.1:4000/v1", "model": "m"}],
        "sweep": {"requests": 100, "levels": [1, 4], "blocks": 5},
        "slos": ["p95(latency) < 500ms"],
        "ceiling": {"start_rps": 20.0, "max_rps": 60.5},
    }
    run = view(flow="ceiling", plan_name="adhoc", plan=plan).run
    words = "--requests 100 --concurrency 1,4 --blocks 5 --slo 'p95(latency) < 500ms' --start 20 --max-rate 60.5"
    assert repeat_command(run) == f"gatebench ceiling --url http://127.0.0.1:4000/v1 --model m {words}"
