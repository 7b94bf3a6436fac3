import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import polars as pl

from storage.records import Verdict
from tasks.report.html import render_html
from tasks.report.pictures import embedded
from tasks.report.record import repeat_command
from tasks.report.view import RunView

View = Callable[..., RunView]
EVIL = "</script><script>alert(1)</script>"


class Fetches(HTMLParser):
    """Every attribute of a page through which a browser would ask somebody for something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        wanted = {"src", "href", "srcset", "action", "data", "poster"}
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in wanted]


def parsed(page: str) -> Fetches:
    parser = Fetches()
    parser.feed(page)
    return parser


def specs(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def test_the_page_opens_with_the_verdict_and_asks_nobody_for_anything(view: View, samples: pl.LazyFrame) -> None:
    page = render_html(view(), samples)
    assert "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7 nights." in page
    assert parsed(page).found == []
    assert "@import" not in page and "url(" not in page.split("<body>")[0]
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert len(page.encode()) < 3_000_000


def test_vega_stands_in_the_page_once_however_many_pictures_there_are(view: View, samples: pl.LazyFrame) -> None:
    page = render_html(view(), samples)
    assert page.count("window.vegaEmbed=") == 1
    assert list(specs(page)) == [
        "nights-0",
        "history-0",
        "throughput-0",
        "tradeoff-0",
        "latency-0",
        "percentiles-0",
        "ridges-0",
        "time-0",
        "heat-0",
        "heat-open-0",
        "replay-0",
        "lag",
    ]


def test_every_picture_has_its_finding_and_its_numbers(view: View, samples: pl.LazyFrame) -> None:
    page = render_html(view(), samples)
    for name in specs(page):
        assert f'id="chart-{name}"' in page
    assert page.count("<summary>The numbers (") == len(specs(page))
    assert "p95 latency at 10 concurrent: 212 ms on 2026-03-08, +45 % from its baseline of 146 ms (7 nights)" in page


def test_streams_have_a_figure_of_their_own(view: View) -> None:
    streamed = [
        replace(c, metric=m) for c in view().cells if c.metric == "latency_p95" for m in ("ttft_p95", "tpot_p50")
    ]
    page = render_html(view(cells=[*view().cells, *streamed]), None)
    assert "The first token comes after 50.0 ms at 1 concurrent and 212 ms at 10 (TTFT p95)" in page
    assert "streams-0" in specs(page)


def test_what_throughput_costs_is_drawn_in_the_median_where_there_is_no_p95(view: View) -> None:
    few = [cell for cell in view().cells if cell.metric not in ("latency_p95", "latency_p99")]
    assert "At most 80.0/s, at 10 concurrent, with p50 latency at 110 ms" in render_html(view(cells=few), None)


def test_targets_that_were_not_compared_stand_beside_each_other_too(view: View) -> None:
    both = [*view().cells, *(replace(cell, target="new") for cell in view().cells)]
    page = render_html(view(cells=both), None)
    assert "together" in specs(page)
    assert "p95 latency lies furthest apart at 1 concurrent" in page
    assert "together" not in specs(render_html(view(), None))


def test_nothing_that_a_target_said_becomes_markup(view: View, samples: pl.LazyFrame) -> None:
    legs = [replace(leg, target=EVIL, target_headers={"server": EVIL}, reasons=[EVIL]) for leg in view().legs]
    cells = [replace(cell, target=EVIL) for cell in view().cells]
    verdict = Verdict(EVIL, "sweep", "latency_p95", 10, 0.48, 0.41, 0.56, 0.0, 0.1, "regressed", EVIL)
    rows = samples.with_columns(target=pl.lit(EVIL), failure=pl.lit(None, dtype=pl.String))
    said = view(legs=legs, cells=cells, verdicts=[verdict], reason=EVIL, profile_words=EVIL)
    page = render_html(said, rows)
    assert parsed(page).scripts == 3
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_json_inside_the_page_cannot_end_its_script() -> None:
    text = str(embedded({"model": EVIL, "gap": float("nan"), "line": "\u2028"}))
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"model": EVIL, "gap": None, "line": "\u2028"}


def test_a_run_whose_rows_are_gone_still_has_the_figures_of_the_book(view: View, samples: pl.LazyFrame) -> None:
    assert specs(render_html(view(), samples.clear())).keys() == specs(render_html(view(), None)).keys()


def test_a_run_without_rows_and_without_history_still_has_a_page(view: View) -> None:
    bare = view(verdict=None, verdicts=[], history=None, baseline_runs=[], calibrations=[], ceilings=[])
    page = render_html(bare, None)
    assert "Measured, not judged: p95 latency 50.0 ms at 1 concurrent" in page
    assert "Not calibrated" in page
    assert sorted(specs(page)) == ["lag", "latency-0", "throughput-0", "tradeoff-0"]


def test_a_run_that_measured_nothing_has_a_page_that_says_so(view: View, samples: pl.LazyFrame) -> None:
    empty = view(verdict=None, legs=[], cells=[], verdicts=[], ceilings=[], history=None, reason="the log is empty")
    page = render_html(empty, None)
    assert "Nothing measured: the log is empty." in page
    assert 'id="specs"' not in page
    assert 'id="specs"' not in render_html(empty, samples.filter(pl.col("level") < 0))


def test_the_record_names_what_the_result_depends_on(view: View) -> None:
    page = render_html(view(), None)
    assert "<code>gatebench trend --html trend.html</code>" in page
    for fact in ("machine.cores", "gw header server", "uvicorn", "samples (absolute path)", "/data/runs/r7"):
        assert fact in page


def test_the_command_that_measures_again_is_the_one_typed_or_one_like_it(view: View) -> None:
    run = view().run
    assert repeat_command(run) == "gatebench nightly --plan nightly"
    typed = replace(run, environment={"command": ["gatebench", "sweep", "--model", "a b"]})
    assert repeat_command(typed) == "gatebench sweep --model 'a b'"
    plan = {"targets": [{"url": "http://127.0.0.1:1/v1", "model": "m"}], "sweep": {"levels": [1, 10], "requests": 200}}
    adhoc = replace(run, flow="sweep", plan_name="adhoc", plan=plan)
    assert repeat_command(adhoc) == (
        "gatebench sweep --url http://127.0.0.1:1/v1 --model m --requests 200 --concurrency 1,10"
    )
