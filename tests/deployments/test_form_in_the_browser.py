"""A run asked for through the real form, in Chromium, on a real server and worker, and what a person reads of it."""

import re
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from deployments.local import auth_string
from storage.store import Book
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.prefect_house import House, up

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.timeout(500),
]
PATIENCE_MS = 60_000
RUN_S = 180.0  # of a run that takes ten seconds on an idle machine


def test_a_slip_is_refused_before_there_is_a_run_and_what_is_asked_for_is_measured_and_told(tmp_path: Path) -> None:
    with (
        SimulatorProcess(SimConfig(service_ms=5.0)) as simulator,
        up(tmp_path) as house,
        api.sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page, asked = signed_in(browser, house)
        book = Book(house.home / "gatebench.duckdb")

        deployment = open_form(page, "ad-hoc-sweep")
        assert field(page, "URL").input_value() == "http://127.0.0.1:4000/v1"
        fill(page, Name="form", URL=simulator.url.removeprefix("http://"), Model="m", **{"Requests a level": "40"})
        for number, level in enumerate(("1", "2", "3", "4")):
            page.locator("input[type=number]").nth(number).fill(level)
        labelled(page, "Control").locator("[role=switch]").click()
        submit(page)
        page.get_by_text(re.compile("Validation failed for field 'target.url'")).first.wait_for()
        assert page.url.endswith("/run")
        assert book.runs() == []

        fill(page, URL=simulator.url)
        submit(page)
        page.wait_for_url(lambda url: not url.endswith("/run"))
        assert deployment in page.url
        measured(book)
        page.goto(f"{origin(house)}/runs?limit=20")
        page.get_by_role("link", name="sweep form").first.click()
        page.get_by_text(re.compile("^(Measured|Invalid)$")).first.wait_for()
        page.get_by_text("Artifacts", exact=True).click()
        page.get_by_role("link", name="gatebench-verdict").first.click()
        page.get_by_text(re.compile("requests measured")).first.wait_for()
        pictures = page.locator("img[src^='data:image/png']")
        pictures.nth(2).wait_for()
        assert all(pictures.nth(k).evaluate("picture => picture.naturalWidth > 400") for k in range(3))
        assert [url for url in asked if not url.startswith((origin(house), "data:", "blob:"))] == []
        browser.close()
    [run] = book.runs()
    assert (run.flow, run.status) == ("sweep", "completed")
    assert run.exit_code in (0, 12)  # 12: the machine was busy
    assert run.plan["sweep"]["levels"] == [1, 2, 3, 4]
    assert run.plan["control"]["enabled"] is False
    with sqlite3.connect(house.home / "prefect" / "prefect.db") as history:
        said = [row[0] for row in history.execute("select message from log")]
    assert 5 <= len(said) <= 40
    assert any(f"report: {run.report}" in line for line in said)


def signed_in(browser: Any, house: House) -> tuple[Any, list[str]]:
    """A page past the password, and every address that it asks for."""
    page = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{origin(house)}/deployments")
    page.locator("input[type=password]").fill(auth_string(house.home / "prefect"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/deployments")
    return page, asked


def origin(house: House) -> str:
    return house.api.removesuffix("/api")


def open_form(page: Any, deployment: str) -> str:
    """Its deployment's id."""
    link = page.get_by_role("link", name=deployment, exact=True).first
    link.wait_for()
    path = str(link.get_attribute("href"))
    page.goto(page.url.split("/deployments")[0] + f"{path}/run")
    labelled(page, "URL").wait_for()
    return path.rsplit("/", 1)[1]


def labelled(page: Any, name: str) -> Any:
    """The field of that name with everything that belongs to it."""
    label = page.locator("label").filter(has=page.get_by_text(f"{name} (Optional)", exact=True)).first
    return label.locator("xpath=ancestor::*[contains(concat(' ', @class, ' '), ' p-label ')][1]")


def field(page: Any, name: str) -> Any:
    return labelled(page, name).locator("textarea, input").first


def fill(page: Any, **texts: str) -> None:
    for name, text in texts.items():
        field(page, name).fill(text)


def submit(page: Any) -> None:
    page.get_by_role("button", name="Submit").click()


def measured(book: Book) -> None:
    """Waits for the only run to end."""
    deadline = time.monotonic() + RUN_S
    while [run.status for run in book.runs()] != ["completed"]:
        assert time.monotonic() < deadline, [(run.status, run.reason) for run in book.runs()]
        time.sleep(0.3)
