"""The pages as a person sees them: opened from disk in Chromium, wide and on a phone, light and dark, and on paper."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.publish import write_report
from tasks.report.html import render_html
from tasks.report.profile import render_profile
from tasks.trend import METRICS, lines, write_weeks
from tasks.workload.builtin import builtin
from tasks.workload.fidelity import compare
from tasks.workload.likeness import to_json
from tasks.workload.profile import profile
from tasks.workload.synthesis import synthesise
from tasks.workload.words import in_words
from tests.fakes.house import LEVELS, House
from tests.fakes.samples import rows
from tests.report.conftest import VIEW
from tests.report.test_side_by_side import LESS, MEAN, SLOW

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"), pytest.mark.timeout(180)]

WIDE = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 400, "height": 800}, "color_scheme": "dark"}
DRAWN = """() => [...document.querySelectorAll('.chart')].map(place => {
    const svg = place.querySelector('svg'), box = svg ? svg.getBoundingClientRect() : {width: 0, height: 0};
    return [place.id, box.width, box.height, svg ? svg.querySelectorAll('path, text').length : 0]; })"""
WIDER = """() => [...document.querySelectorAll('table.cards')].map(t => t.parentElement)
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 60))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> file. Of a small book: quiet nights, then two slower ones."""
    folder = tmp_path_factory.mktemp("pages")
    house = House(folder / "home")
    for _ in range(10):
        house.night()
    for _ in range(2):
        house.night({"latency_p95": 1.2, "latency_p99": 1.2})
    last = house.nights[-1]
    samples(house.settings.runs_path / last)
    made = {"report": write_report(last, house.settings), "trend": folder / "trend.html"}
    write_weeks(made["trend"], lines(house.book.watch, METRICS, every=True), house.settings)
    house.held.close()
    compared = replace(VIEW, run=replace(VIEW.run, flow="compare"), verdicts=[], history=None, trends=[],
                       comparisons=[SLOW, MEAN, LESS])  # fmt: skip
    for name, text in (("compare", render_html(compared, None)), ("profile", profile_page())):
        made[name] = folder / f"{name}.html"
        made[name].write_text(text, encoding="utf-8")
    return made


def samples(folder: Path) -> None:
    """300 requests in each of six legs and in a replay, some of them slow, as the sample log has them."""
    for level, block in [(level, block) for level in LEVELS for block in (1, 2, 3)] + [(0, 1)]:
        leg = folder / f"b{block}-c{level}"
        leg.mkdir(parents=True, exist_ok=True)
        took = [40.0 + level / 4 + (k * 7 % 23) + (90 if k % 50 == 0 else 0) for k in range(300)]
        rows(leg.name, took, level=level, block=block, stream_label="main").write_parquet(leg / "part-0.parquet")


def profile_page() -> str:
    made = synthesise(builtin(), 1)
    known = profile(made)
    header = json.loads(json.dumps(asdict(made.header)))
    return render_profile(
        json.loads(json.dumps(known.to_json())), in_words(known), header, to_json(compare(builtin(), made))
    )


@dataclass
class Seen:
    """What a page did besides being drawn."""

    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def opened(browser: Any, file: Path, look: dict[str, Any]) -> tuple[Any, Seen]:
    """The page once its charts had time to be drawn. Every request is noted; none but that for the file is let go."""
    seen = Seen()
    page = browser.new_context(**look).new_page()
    page.on(
        "console", lambda message: seen.errors.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri())
    if page.locator(".chart").count():
        page.locator(".chart svg").nth(page.locator(".chart").count() - 1).wait_for(timeout=30_000)
    return page, seen


@pytest.mark.parametrize("look", [WIDE, PHONE], ids=["wide and light", "phone and dark"])
@pytest.mark.parametrize("name", ["report", "trend", "compare", "profile"])
def test_every_chart_is_drawn_nothing_is_cut_off_and_nobody_is_asked(
    browser: Any, pages: dict[str, Path], name: str, look: dict[str, Any]
) -> None:
    page, seen = opened(browser, pages[name], look)
    charts = page.evaluate(DRAWN)
    assert len(charts) >= {"report": 10, "trend": 5, "compare": 3, "profile": 5}[name]
    assert [chart for chart in charts if chart[1] < 150 or chart[2] < 50 or chart[3] < 5] == []
    assert (seen.errors, seen.asked) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
    assert page.evaluate(WIDER) == [] or look is WIDE
    page.context.close()


def test_the_dark_page_is_dark_and_its_words_are_light(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["report"], PHONE)
    paper, ink, axis = (
        page.evaluate(f"getComputedStyle(document.querySelector('{place}')).{what}")
        for place, what in (("body", "backgroundColor"), ("body", "color"), (".chart svg text", "fill"))
    )
    assert (brightness(paper) < 60, brightness(ink) > 200, brightness(axis) > 120) == (True, True, True)
    page.context.close()


def test_on_paper_the_plan_is_there_and_the_charts_fit(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["report"], WIDE)
    page.emulate_media(media="print")
    assert page.evaluate("document.querySelector('details.keep table').getBoundingClientRect().height") > 50
    assert len(page.pdf(format="A4")) > 50_000
    page.context.close()


def test_the_watch_sees_an_error_and_a_request(browser: Any, tmp_path: Path) -> None:
    """So that the silence of the other pages means something."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>throw new Error('seen')</script>")
    page, seen = opened(browser, bad, WIDE)
    assert seen.asked == ["http://127.0.0.1:9/x.png"]
    assert any("seen" in error for error in seen.errors)
    page.context.close()


def brightness(colour: str) -> float:
    """Of `rgb(20, 23, 27)`: 0 is black, 255 white."""
    parts = [float(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3]]
    return sum(parts) / 3
