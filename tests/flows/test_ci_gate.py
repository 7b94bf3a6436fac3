"""The page on the CI gate is run, line by line, against simulators in place of its gateways."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deployments.local import auth_string
from storage.records import SAMPLE_COLUMNS
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.command import UMASK, Commands, Done, bare, commands
from tests.fakes.history import quiet_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
PAGE = (Path(__file__).parents[2] / "docs" / "ci-gate.md").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.S)[0])
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
CANARY = "sk-canary-0123456789abcdef"
TOKEN = "t0ken-that-nobody-may-see"
# A busy machine must not make a test invalid: what is tested here is not the instrument.
LIMITS = [f"health.{name}=1e9" for name in ("invalid_loop_lag_p99_ms", "invalid_lag_p99_ms", "invalid_cpu_share")]
SURE = ["--no-stream", *(word for limit in LIMITS for word in ("--set", limit))]  # and quicker


FEWER = {"500": "200"}  # requests: enough to tell 30 ms from 90


def gate() -> str:
    (line,) = [step["run"] for step in WORKFLOW["jobs"]["gate"]["steps"] if "gatebench compare" in step.get("run", "")]
    return str(line)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def prefect(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with quiet_server(place / "server", tmp_path_factory) as ours:
        yield ours


@pytest.fixture(scope="module")
def gatebench(place: Path, prefect: dict[str, str]) -> Iterator[Commands]:
    own = {"GATEBENCH_HOME": str(place / "home"), "GATEBENCH_API_KEY": CANARY}
    env = {**prefect, **bare(), **own, "GITHUB_STEP_SUMMARY": str(place / "summary.md")}
    with commands(env, place) as run:
        yield run


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    def made(service_ms: float) -> SimConfig:
        return SimConfig(service_ms=service_ms, distribution=Distribution.CONSTANT, slots=0)

    with SimulatorProcess(made(30)) as old, SimulatorProcess(made(90)) as new:
        yield {"http://127.0.0.1:4000/v1": old.url, "http://127.0.0.1:4001/v1": new.url}


def run(gatebench: Commands, line: str, instead: dict[str, str], **settings: str) -> Done:
    """A line of the page, with the simulators' addresses in place of its own, and fewer requests."""
    first, *words = [{**FEWER, **instead}.get(word, word) for word in shlex.split(line)]
    assert first == "gatebench"
    done = gatebench(*words, *(SURE if words[0] in ("compare", "sweep") else []), **settings)
    assert "Traceback" not in done.err
    return done


def artifacts(env: dict[str, str]) -> list[Any]:
    async def ask() -> list[Any]:
        async with get_client() as client:
            return list(await client.read_artifacts())

    auth = auth_string(Path(env["PREFECT_HOME"]))
    ours = {PREFECT_API_URL: env["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: auth}
    with temporary_settings(ours):
        return asyncio.run(ask())


def cases(file: Path) -> dict[str, set[str]]:
    """failure, error, skipped or passed -> names."""
    found: dict[str, set[str]] = {}
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 - our own
        tags = [child.tag for child in case if child.tag != "system-out"]
        found.setdefault(tags[0] if tags else "passed", set()).add(str(case.get("name")))
    return found


def test_the_workflow_is_ten_lines_or_so_and_its_gate_is_one_command() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert len(block.splitlines()) <= 10
    assert gate().startswith("gatebench compare --baseline ")


def test_a_slower_candidate_stops_the_deployment(gatebench: Commands, urls: dict[str, str], place: Path) -> None:
    done = run(gatebench, gate(), urls, GATEBENCH_ALERT_URLS=f"nonsense://{TOKEN}")
    assert done.code == 10, done.out + done.err
    assert TOKEN not in done.out + done.err
    assert "p50 latency at 10 concurrent" in cases(place / "gate.xml")["failure"]
    summary = (place / "summary.md").read_text()
    assert summary.startswith("## Regressed: p")
    assert " on candidate, +" in summary.splitlines()[0]
    assert "| number | baseline | candidate | change | verdict |" in summary


def test_an_alert_that_does_not_get_through_stands_on_the_run_and_changes_nothing(
    gatebench: Commands, prefect: dict[str, str], place: Path
) -> None:
    """Of the run before: its only channel is no address."""
    said = gatebench("show", "last")
    assert (said.code, said.err) == (0, "")
    assert "did not get through: nonsense: not an address" in " ".join(said.out.split())
    told = [artifact.data for artifact in artifacts(prefect) if artifact.key == "gatebench-alerts"]
    assert told == ["## An alert did not get through\n\n- nonsense: not an address that Apprise knows (nonsense://…)\n"]
    warnings = json.loads(gatebench("show", "last", "--json", "-").out)["warnings"]
    assert "alert: nonsense: not an address that Apprise knows (nonsense://…)" in warnings
    kept = [file for file in place.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
    assert kept == []


def test_objectives_alone_are_a_gate_too(gatebench: Commands, urls: dict[str, str], place: Path) -> None:
    (line,) = [line for line in SHELL if line.startswith("gatebench sweep")]
    done = run(gatebench, line, urls)
    assert done.code == 0, done.out + done.err
    found = cases(place / "objectives.xml")
    assert set(found) == {"passed"}
    assert "rate(errors){level=10} < 1% at 10 concurrent" in found["passed"]
    assert (place / "summary.md").read_text().count("\n## ") == 1  # appended to what the compare said


def test_a_gateway_that_does_not_answer_is_an_error_in_ci_s_own_words(gatebench: Commands, place: Path) -> None:
    dead = {f"http://127.0.0.1:{port}/v1": "http://127.0.0.1:1/v1" for port in (4000, 4001)}
    summary = place / "dead.md"
    done = run(gatebench, gate(), {**dead, "gate.xml": "dead.xml"}, GITHUB_STEP_SUMMARY=str(summary))
    assert done.code == 13
    assert cases(place / "dead.xml") == {"error": {"measured"}}
    assert summary.read_text().startswith("## gatebench compare: no result\n\n")


def test_every_export_of_the_page_is_what_it_says_and_holds_no_key(
    gatebench: Commands, urls: dict[str, str], place: Path
) -> None:
    lines = [line for line in SHELL if line.startswith("gatebench export")]
    texts = []
    for line in lines:
        done = run(gatebench, line, urls)
        assert (done.code, done.err) == (0, ""), line
        texts.append(done.out)
    assert len(lines) == 6
    assert texts[0].startswith("## Measured")
    rows = pl.read_parquet(place / "rows.parquet")
    assert set(SAMPLE_COLUMNS) <= set(rows.columns)
    assert rows.filter(pl.col("phase") == "measured", pl.col("target") == "target").height == 200
    read = pl.read_csv(place / "estimates.csv")
    assert {"latency_p95", "throughput"} <= set(read["metric"])
    for file in ("gate.txt", "gatebench-adhoc.prom"):
        assert list(text_string_to_metric_families((place / file).read_text()))
    (file,) = (place / "aiperf").rglob("profile_export_aiperf.json")
    told = json.loads(file.read_text())
    assert (file.parent.name, told["request_count"]["avg"]) == ("target-concurrency_10", 200)
    assert told["request_latency"]["p50"] == pytest.approx(90, rel=0.5)
    written = [file for file in place.glob("*") if file.is_file() and file.suffix != ".md"] + [file]
    assert {file.stat().st_mode & 0o777 for file in written} == {0o666 & ~UMASK}  # node-exporter is somebody else
    assert not [file for file in written if CANARY.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export last", "export to what? give --to with one of parquet, csv, json"),
        ("export last --to xml", "--to xml is no format"),
        ("export last --to csv --table nights", "--table nights: write rows or estimates"),
        ("export last --to csv --textfile .", "--textfile is openmetrics"),
        ("export last --textfile nowhere", "nowhere is no folder"),
        ("export last --textfile . --out x.prom", "--textfile names the folder to write to"),
        ("export last --to junit --table rows", "--table is an option of parquet and csv, not of junit"),
        ("export last --to csv --level 10", "--level is an option of aiperf, not of csv"),
        ("export last --to json --json -", "the export itself goes to stdout"),
        ("baseline export --json -", "the export itself goes to stdout"),
        ("export last --to aiperf --level 7", "has no such load; it has target-concurrency_10"),
        ("export last --to parquet --out nowhere/x.parquet", "nowhere is no folder"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(words: str, said: str, gatebench: Commands) -> None:
    done = gatebench(*words.split())
    assert (done.code, done.out) == (2, "")
    assert said in done.sentence
