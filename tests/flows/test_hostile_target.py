"""What a target says is text and nothing else, wherever it is shown: pages, Prefect's artifacts, terminal, tables."""

import csv
import io
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deployments.local import auth_string
from tests.fakes.command import Commands, bare, commands
from tests.fakes.history import quiet_server
from tests.fakes.hostile import hostile
from tests.fakes.prefect_house import ask
from tests.fakes.receivers import Receiver

pytestmark = pytest.mark.timeout(240)
PLAN = """
name = "hostile"
slos = ["mean(latency){{level=1}} < 0.001ms"]
[[targets]]
name = "gw"
url = "{url}"
model = "m"
[sweep]
levels = [1, 2]
requests = 60
blocks = 5
[replay]
window = "0:2s"
speed = 10
[control]
service_ms = 1
[prices."*"]
output = 10
[health]  # how busy this machine is meanwhile is not the question, and weeks have no number of an invalid night
suspect_lag_p99_ms = 1e6
invalid_lag_p99_ms = 1e6
suspect_loop_lag_p99_ms = 1e6
invalid_loop_lag_p99_ms = 1e6
suspect_cpu_share = 1e6
invalid_cpu_share = 1e6
ceiling_share = 1e6
invalid_achieved_share = 0
"""


@dataclass
class Night:
    """A night against a hostile target, and everything that was shown of it."""

    folder: Path
    run: Commands
    alerts: list[dict[str, str]]
    artifacts: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def page(self) -> str:
        (page,) = self.folder.glob("home/runs/*/report.html")
        return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("hostile")
    receiver = Receiver()
    with quiet_server(folder / "server", tmp_path_factory) as ours, hostile() as url:
        (folder / "plan.toml").write_text(PLAN.format(url=url))
        home = {"GATEBENCH_HOME": str(folder / "home"), "GATEBENCH_ALERT_URLS": receiver.url()}
        with commands({**bare(), **ours, **home, "COLUMNS": "80"}, folder) as run:
            done = run("nightly", "--plan", folder / "plan.toml")
            assert done.code == 11, done.err
            found = Night(folder, run, [body for _, body in receiver.got], _artifacts(folder, ours["PREFECT_API_URL"]))
            found.said = {"nightly": done.out + done.err}
            for words in (["show"], ["trend"], ["runs"], ["incidents"], ["baseline", "show"]):
                shown = run(*words)
                assert shown.code == 0, shown.err
                found.said[" ".join(words)] = shown.out + shown.err
            yield found
    receiver.stop()


def _artifacts(folder: Path, api: str) -> dict[str, str]:
    async def read(client: object) -> dict[str, str]:
        return {a.key: str(a.data) for a in await client.read_artifacts()}  # type: ignore[attr-defined]

    return ask(api, auth_string(folder / "server" / "prefect"), read)


class Page(HTMLParser):
    """Scripts, links, sources and handlers of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text += data


def test_on_the_page_of_a_run_it_is_text(night: Night):
    page = Page(night.page())
    assert "<script>alert(1)</script>" in page.text  # it is there to be read
    assert [script[:80] for script in page.scripts if re.match(r"\s*alert\(", script)] == []
    assert page.handlers == []
    assert [a for a in page.addresses if "evil" in a or a.startswith("javascript")] == []


def test_in_the_artifacts_of_prefect_it_is_text(night: Night):
    shown = night.artifacts["gatebench-verdict"]
    assert "alert(1)" in shown
    assert re.findall(r"<(?!/?(?:br|sub|sup)\b)[a-z!/]", shown) == []
    assert re.findall(r"(?<!\\)\]\((?!data:image/|file:|#)[^)]*", shown) == []
    for table in re.findall(r"(?:^\|.*\n?)+", shown, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
    assert "evil.example" not in night.artifacts["gatebench-report"]


def test_in_a_terminal_it_moves_no_cursor_and_turns_no_text_round(night: Night):
    assert "alert(1)" in night.said["nightly"]
    for command, said in night.said.items():
        strange = {c for c in said if c != "\n" and unicodedata.category(c) in ("Cc", "Cf")}
        assert strange == set(), f"{command}: {strange}"


def test_in_a_message_it_is_one_line_of_text(night: Night):
    (alert,) = night.alerts
    strange = {c for c in alert["title"] + alert["message"] if c != "\n" and unicodedata.category(c) in ("Cc", "Cf")}
    assert strange == set()


@pytest.mark.parametrize("kind", ["csv", "junit", "openmetrics", "github-summary"])
def test_in_what_is_exported_it_is_text(night: Night, tmp_path: Path, kind: str):
    out = tmp_path / "out"
    done = night.run("export", "last", "--to", kind, "--out", out)
    assert done.code == 0, done.err
    for file in [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]:
        text = file.read_text(encoding="utf-8")
        assert {c for c in text if c not in "\r\n\t" and unicodedata.category(c) == "Cc"} == set(), file
        if kind == "csv":
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert [cell for cell in cells if re.match(r"[=+@\t\r]|-(?!\d+$)", cell)] == []
            assert [cell for cell in cells if cell.startswith("'=1+cmd")]
        if kind == "junit":
            ET.fromstring(text)  # noqa: S314 - our own file
        if kind == "github-summary":
            assert re.findall(r"<(?!/?(?:br|sub|sup|details|summary)\b)[a-z!/]", text) == []
