"""What a report says of its replay and of the newest traffic."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.truth import moved_line, truth_lines
from tasks.report.view import RunView
from tasks.workload.builtin import builtin
from tasks.workload.fidelity import compare, sent_against_due
from tasks.workload.likeness import to_json
from tasks.workload.synthesis import at_starts

View = Callable[..., RunView]
DUE = np.arange(100) * 10_000_000
TRUE = {"about": "replay", "target": "gw", **to_json(sent_against_due(DUE, DUE, 100, "replay against gw"))}


def moved() -> dict[str, Any]:
    step = builtin().header.span_ns // 239
    other = at_starts(builtin(), [k * step for k in range(240)], 1, "constant", "tuesday")
    command = "gatebench baseline accept --workload tuesday.parquet --name mine"
    return {"about": "new traffic", "repin": command, **to_json(compare(builtin(), other))}


def test_a_replay_that_was_as_recorded_says_so_everywhere(view: View, samples: pl.LazyFrame) -> None:
    shown = replace(view(), fidelity=[TRUE])
    line = "replay against gw: 100 sent of 100 due, as recorded"
    assert truth_lines(shown) == [line] and moved_line(shown) is None
    assert line in render_markdown(shown, charts=False)
    page = render_html(shown, samples)
    assert "Fidelity: replay" in page and line in page and "lag p99, ms" in page


def test_traffic_that_moved_stands_among_the_facts_at_the_top_with_its_command(
    view: View, samples: pl.LazyFrame
) -> None:
    shown = replace(view(), fidelity=[moved(), TRUE])
    page = render_html(shown, None)
    top = page[: page.index("</dl>")]
    assert "the workload has moved: re-pin with gatebench baseline accept --workload tuesday.parquet --name mine" in top
    assert "the workload has moved" in render_markdown(shown, charts=False)


def test_new_logs_that_could_not_be_captured_are_told_too(view: View) -> None:
    failed = {"about": "capture", "ok": False, "title": "no new traffic: no log there", "measures": [], "notes": []}
    shown = replace(view(), fidelity=[failed])
    assert moved_line(shown) == "no new traffic: no log there"
    assert "new logs: no new traffic: no log there" in render_markdown(shown, charts=False)


def test_a_run_without_a_replay_says_nothing_of_it(view: View) -> None:
    assert truth_lines(view()) == []
    assert "Fidelity" not in render_html(view(), None)
