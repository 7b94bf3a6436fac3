"""Targets side by side, in words: headline, page, terminal, artifact."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from storage.records import Comparison
from tasks.report.figures import pair_figures
from tasks.report.headline import headline
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.record import repeat_command
from tasks.report.side_by_side import length_lines, pair_tables, side_rows
from tasks.report.terminal import render_terminal
from tasks.report.view import RunView

View = Callable[..., RunView]
SLOW = Comparison(
    "gw", "new", "candidate", "latency_p95", 10, 0.200, 0.240, 0.2, 0.15, 0.25, 0.040, 0.030, 0.050, 0.001, 0.08, 0.19,
    5, 2000, False, True, "regressed", "",
)  # fmt: skip
MEAN = replace(SLOW, level=None, effect=0.21, by=None, by_lower=None, by_upper=None)
LESS = replace(SLOW, metric="throughput", baseline_value=80.0, candidate_value=64.0, effect=0.25, lower=0.2, upper=0.3)
LESS = replace(LESS, by=-16.0, by_lower=-18.0, by_upper=-14.0, verdict="unchanged")
ERRORS = replace(
    SLOW, metric="errors", baseline_value=0.0, candidate_value=0.03, effect=None, lower=None, upper=None, by=0.03,
    by_lower=0.02, by_upper=0.04, again=None, verdict="unchanged",
)  # fmt: skip
TOKENS = replace(
    SLOW, metric="output_tokens", baseline_value=20.0, candidate_value=24.0, effect=0.2, lower=0.19, upper=0.21,
    by=4.0, by_lower=3.9, by_upper=4.1, leads=False, verdict="",
)  # fmt: skip


def compared(view: View, *found: Comparison, **changes: object) -> RunView:
    return view(**{"flow": "compare", "verdicts": [], "history": None, "comparisons": list(found), **changes})


def terminal(view: RunView, width: int = 80) -> str:
    out = StringIO()
    render_terminal(view, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_a_regression_is_said_with_its_interval_and_that_it_was_seen_twice(view: View) -> None:
    assert headline(compared(view, SLOW, MEAN, LESS)) == (
        "Regressed: p95 latency over all levels is 240 ms on new, +21 % [+15, +25] against gw, seen twice "
        "(1 more verdict regressed)."
    )


def test_errors_are_said_in_percentage_points(view: View) -> None:
    text = headline(compared(view, replace(ERRORS, verdict="regressed")))
    assert text == "Regressed: error share at 10 concurrent is 3 % on new, +3.00 pp [+2.00, +4.00] against gw."


def test_targets_that_are_alike_say_what_would_have_been_seen(view: View) -> None:
    quiet = replace(MEAN, effect=0.01, lower=-0.02, upper=0.04, verdict="unchanged")
    assert headline(compared(view, quiet, verdict="unchanged")) == (
        "Unchanged: new is like gw; the largest difference is p95 latency over all levels, +1.0 % [−2.0, +4.0]; "
        "+8 % p95 latency over all levels would have been seen."
    )


def test_an_inconclusive_comparison_says_why(view: View) -> None:
    two = replace(SLOW, verdict="inconclusive", reason="2 blocks; 3 are needed")
    found = compared(view, two, verdict="inconclusive", reason="2 blocks; 3 are needed")
    assert headline(found) == "Inconclusive: 2 blocks; 3 are needed."


def test_a_reason_in_the_terminal_says_whose_it_is_unless_it_is_everybodys(view: View) -> None:
    once = replace(SLOW, metric="ttft_p95", verdict="unchanged", reason="not confirmed")
    assert "\n  p95 TTFT at 10 concurrent: not confirmed\n" in terminal(compared(view, SLOW, MEAN, once))
    two = [replace(one, verdict="inconclusive", reason="2 blocks; 3 are needed") for one in (SLOW, MEAN)]
    assert "\n  2 blocks; 3 are needed\n" in terminal(compared(view, *two, verdict="inconclusive"))
    levels = [replace(once, level=level) for level in (1, 2, 4, 8)]
    assert "\n  4 of 5 numbers: not confirmed\n" in terminal(compared(view, SLOW, *levels))


def test_an_overhead_is_told_at_the_lowest_level_in_milliseconds(view: View) -> None:
    over = replace(SLOW, kind="overhead", baseline="direct", candidate="gw", verdict="", level=1)
    found = compared(view, over, replace(over, level=10, by=0.1), verdict=None)
    assert headline(found) == (
        "gw adds to direct at 1 concurrent: p95 latency +40.0 ms [+30.0, +50.0] (+20 % [+15, +25])."
    )
    assert "What gw adds to direct" in terminal(found)


def test_answers_of_other_lengths_are_said_everywhere(view: View) -> None:
    found = compared(view, replace(SLOW, metric="tpot_p50"), TOKENS)
    [line] = length_lines(found)
    assert line == (
        "answers of new are 20 % longer than those of gw (24.0 output tokens against 20.0): TTFT and TPOT lead, "
        "for latency and throughput grow with the length of an answer"
    )
    assert f"Mind that {line}." in headline(found)
    assert "A" + line[1:] in render_html(found, None)
    assert length_lines(compared(view, replace(TOKENS, effect=0.05))) == []


def test_a_throughput_that_fell_has_a_minus(view: View) -> None:
    [table] = pair_tables(compared(view, LESS))
    assert (table.rows[0].effect, table.rows[0].by) == ("−20 % [−23, −17]", "−16.0/s [−18.0, −14.0]")


def test_what_leads_stands_first_and_means_before_levels(view: View) -> None:
    [table] = pair_tables(compared(view, TOKENS, ERRORS, SLOW, MEAN))
    assert [(row.what, row.place) for row in table.rows] == [
        ("p95 latency", "over all levels"),
        ("p95 latency", "at 10 concurrent"),
        ("error share", "at 10 concurrent"),
        ("output tokens", "at 10 concurrent"),
    ]
    assert [row.what for row in table.beside] == ["output tokens"]


def test_each_target_says_how_long_its_answers_are(view: View) -> None:
    [row] = side_rows(compared(view, TOKENS))
    assert (row.target, row.requests, row.failed, row.output) == ("gw", "400", "0 %", "20.0")


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_to_its_width(view: View, width: int) -> None:
    said = terminal(compared(view, SLOW, MEAN, LESS, ERRORS, TOKENS), width)
    assert "new against gw" in said and "p95 latency" in said and "+20 % [+15, +25]" in said
    table = said[said.index("new against gw") : said.index("target")]
    assert max(len(line) for line in table.splitlines()) <= width


def test_the_page_and_the_artifact_have_the_pairs_and_a_picture(view: View) -> None:
    found = compared(view, SLOW, MEAN, LESS, ERRORS, TOKENS)
    page, artifact = render_html(found, None), render_markdown(found, charts=False)
    assert "Side by side" in page and "new is worse than gw in 2 of 3 numbers" in page
    assert "| number | gw | new | change | verdict |" in artifact
    assert "### new against gw" in artifact and "| p95 latency over all levels |" in artifact
    [figure] = pair_figures(found)
    assert figure.table.height == 3


def test_a_run_without_comparisons_has_no_such_section(view: View) -> None:
    assert "Side by side" not in render_html(view(), None)
    assert "Side by side" not in render_markdown(view(), charts=False)


def test_a_comparison_of_urls_can_be_measured_again(view: View) -> None:
    def target(name: str, port: int, direct: bool = False) -> dict[str, object]:
        return {"name": name, "url": f"http://127.0.0.1:{port}/v1", "model": "m", "direct": direct}

    plan = {
        "targets": [target("baseline", 1), target("candidate", 2), target("direct", 3, True)],
        "sweep": {"levels": [1, 4], "requests": 40, "blocks": 5},
    }
    assert repeat_command(compared(view, SLOW, plan=plan, plan_name="compare").run) == (
        "gatebench compare --baseline http://127.0.0.1:1/v1 --candidate http://127.0.0.1:2/v1 "
        "--direct http://127.0.0.1:3/v1 --model m --requests 40 --blocks 5 --concurrency 1,4"
    )
