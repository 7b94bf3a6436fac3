"""The pages are followed: the lines of their shell blocks and the pieces of their code are run as they stand there,
with simulators in place of the gateways, and less of everything that takes long.

One reader goes through the README and on from there in one folder, so these tests build on each other, in this order.
"""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import config
from deployments.local import auth_string, unused_port
from flows.cli_doctor import EXIT_BAD
from storage.store import Book
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes import pages
from tests.fakes.command import alone, bare, commands
from tests.fakes.history import laid_out, quiet_server
from tests.fakes.house import House
from tests.fakes.prefect_house import ask, until
from tests.fakes.reader import Reader, lines_of

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]
SAMPLE = Path(config.__file__).parent / "samples" / "litellm.jsonl.gz"
CANARY = "sk-canary-0123456789abcdef"
# A busy machine must not make a test invalid: what is tested here is not the instrument.
LEAST = ("invalid_loop_lag_p99_ms", "invalid_lag_p99_ms", "invalid_cpu_share", "ceiling_share")
LIMITS = [*(f"health.{name}=1e9" for name in LEAST), "health.invalid_achieved_share=0"]
SURE = tuple(word for limit in LIMITS for word in ("--set", limit))
LESS = {
    "--requests 1000 --concurrency 1,10,50,100": "--requests 40 --concurrency 1,4",
    "--duration 30s": "--duration 1s",
    "--duration 1m": "--duration 1s",
    "50:20s,200:20s,50:20s": "50:1s,200:1s,50:1s",
    "--stress rate=20,from=1m,until=3m": "--speed 10 --stress rate=20,from=1s,until=2s",
}
MORE = {
    "sweep": SURE,
    "replay": SURE,
    "load": SURE,
    "ceiling": ("--start", "150", "--max-rate", "150", "--duration", "1s", *SURE),
    "compare": ("--requests", "40", "--concurrency", "2", *SURE),
}
REGRESSED, INVALID = 10, 12
SMALL = {
    "levels = [1, 10, 50, 100]": "levels = [1, 4]",
    "requests = 1000 ": "requests = 40 ",
    "speed = 1.0": "speed = 20",
}
ELSEWHERE = {  # a line that begins so is run by that test
    "make quickstart": "tests/flows/test_main_job.py",
    "make help": "tests/test_docs.py",
    "gatebench aa": "tests/flows/test_aa_measured.py",
    "gatebench sweep --url http://127.0.0.1:4001/v1": "tests/flows/test_ci_gate.py",
    "gatebench export last": "tests/flows/test_ci_gate.py",
    "gatebench baseline export": "tests/flows/test_baseline_bundle.py",
    "gatebench baseline import": "tests/flows/test_baseline_bundle.py",
}
NOT_HERE = {  # no test can run a line that begins so, for that reason
    "make test": "it runs this test",
    "make lint": "`.ci/run` runs it before the tests",
    "make coverage": "it runs a third of the tests once more",
    "make bench": "ten minutes of an idle machine",
    "make soak": "half an hour of an idle machine",
    "make e2e": "an hour, and gateways from the internet",
    ". .venv/bin/activate": "the tests have an environment",
    "sudo ": "root, and systemd: `python -m tests.e2e.unattended` boots a machine for it",
    "cp deployments/compose.env.example": "a container engine: likewise, with `--containers`",
    "docker compose": "likewise",
}
FOLLOWED: list[tuple[str, str]] = []


def follows(*blocks: tuple[str, str]) -> Callable[[Any], Any]:
    """The test under it follows these blocks: (page, how the block begins)."""
    FOLLOWED.extend(blocks)
    return lambda test: test


@pytest.fixture(scope="module")
def gateways() -> Iterator[dict[str, SimulatorProcess]]:
    """Three at once, by the ports that the pages give them."""
    made = SimConfig(service_ms=5, distribution=Distribution.CONSTANT, slots=0)
    with ExitStack() as stack:
        yield {port: stack.enter_context(SimulatorProcess(made)) for port in ("4000", "4001", "8000")}


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server, and the password that it asks for."""
    with quiet_server(tmp_path_factory.mktemp("server"), tmp_path_factory) as ours:
        yield {**ours, "PREFECT_API_AUTH_STRING": auth_string(Path(ours["PREFECT_HOME"]))}


@pytest.fixture(scope="module")
def open_readers(
    tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str], gateways: dict[str, SimulatorProcess]
) -> Iterator[Callable[[str], Reader]]:
    """A reader in a new folder of this name, or the one who is there already."""
    with ExitStack() as stack:
        readers: dict[str, Reader] = {}

        def reader(name: str) -> Reader:
            if name not in readers:
                place = tmp_path_factory.mktemp(name)
                browser = place / "browser"
                browser.write_text('#!/bin/sh\necho "$@" > opened\n')
                browser.chmod(0o755)
                env = {**prefect, **bare(), "HOME": str(place), "BROWSER": f"{browser} %s"}
                run = stack.enter_context(commands(env, place))
                urls = {f"http://127.0.0.1:{port}/v1": one.url for port, one in gateways.items()}
                readers[name] = Reader(place, run, {**urls, **LESS}, MORE)
            return readers[name]

        yield reader


@contextmanager
def at_port(reader: Reader, theirs: str) -> Iterator[str]:
    """A free port in place of one that a page names."""
    port, before = str(unused_port()), dict(reader.instead)
    reader.instead = {f"--port {theirs}": f"--port {port}", f":{theirs}/": f":{port}/", **before}
    yield port
    reader.instead = before


@pytest.fixture
def reader(open_readers: Callable[[str], Reader]) -> Reader:
    """Who follows the README and whatever page takes it from there."""
    return open_readers("reader")


def make_small(plan: Path) -> None:
    """What a user changes in a plan, so that a night takes seconds."""
    text = plan.read_text(encoding="utf-8")
    for theirs, ours in SMALL.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    limits = "\n".join(limit.removeprefix("health.").replace("=", " = ") for limit in LIMITS)
    plan.write_text(f"{text}\n[health]\n{limits}\n", encoding="utf-8")


@follows(("README.md", "gatebench init"))
def test_the_first_night(reader: Reader, gateways: dict[str, SimulatorProcess]) -> None:
    lines = lines_of("README.md", "gatebench init")
    made = reader.line(lines[0])
    assert made is not None and made.code == 0, made
    make_small(reader.place / "my-gateway.toml")
    reader.instead["GATEBENCH_API_KEY=…"] = f"GATEBENCH_API_KEY={CANARY}"
    before = gateways["4000"].stats()["requests"]
    _, dry, night, shown, opened = (reader.line(line) for line in lines[1:])
    assert dry is not None and night is not None and shown is not None and opened is not None
    assert (dry.code, night.code, shown.code, opened.code) == (0, 0, 0, 0), (dry, night, shown, opened)
    assert "requests" in dry.err
    assert gateways["4000"].stats()["requests"] - before > 300
    assert "Inconclusive: " in night.out
    assert "nightly" in shown.out
    page = (reader.place / "opened").read_text().strip()
    assert page.startswith("file://") and Path(page.removeprefix("file://")).stat().st_size > 100_000


@follows(("README.md", "gatebench capture"), ("README.md", "gatebench synth"))
def test_own_traffic(reader: Reader) -> None:
    log = reader.place / "log"
    log.mkdir()
    shutil.copy(SAMPLE, log)
    reader.instead["/var/log/litellm"] = str(log)
    captured, profiled, replayed, pinned = reader.follow("README.md", "gatebench capture")
    assert [done.code for done in (captured, profiled, replayed, pinned)] == [0, 0, 0, 0], (captured, replayed, pinned)
    assert "114 rows read = 112 kept" in captured.out + captured.err
    assert (reader.place / "profile.html").stat().st_size > 10_000
    assert "my-gateway" in pinned.out
    made, told, stressed = reader.follow("README.md", "gatebench synth")
    assert [done.code for done in (made, told, stressed)] == [0, 0, 0], (made, told, stressed)
    assert (reader.place / "like-it.parquet").is_file()
    assert "KS" in told.out
    run = Book(reader.place / ".gatebench" / "gatebench.duckdb").runs()[0]
    rows = pl.read_parquet(reader.place / ".gatebench" / "runs" / run.run_id / "*" / "part-*.parquet")
    assert rows.filter(pl.col("target") == "target").height > 112  # and the stress on top


@follows(("README.md", "gatebench simulate"), ("docs/ceiling.md", "gatebench ceiling"))
def test_without_a_plan(reader: Reader) -> None:
    simulate, *others = lines_of("README.md", "gatebench simulate")
    with at_port(reader, "8100"), reader.started(simulate, "Ctrl-C stops it"):
        swept, *rest = [done for line in others if (done := reader.line(line)) is not None]
    assert swept.code == 0, swept.err
    assert len(rest) == 4
    assert json.loads(swept.out)["schema"].startswith("gatebench.")
    rest += reader.follow("docs/ceiling.md", "gatebench ceiling")
    assert {done.code for done in rest} <= {0, INVALID}, rest  # a busy machine may make an open loop late
    assert ["sustains" in done.out or done.code == INVALID for done in (rest[0], rest[-1])] == [True, True], rest


@follows(("README.md", "gatebench compare"), ("docs/ci-gate.md", "gatebench simulate"))
def test_side_by_side(reader: Reader) -> None:
    found = reader.follow("README.md", "gatebench compare")
    assert (found[0].code in (0, REGRESSED), found[1].code) == (True, 0), found  # equal targets, on any machine
    assert "candidate" in found[0].out
    assert "candidate adds to direct at 2 concurrent: p50 latency " in found[1].out
    (simulate,) = lines_of("docs/ci-gate.md", "gatebench simulate")
    with at_port(reader, "8000") as port, reader.started(simulate, f":{port}/v1; Ctrl-C stops it"):
        pass


@follows(("docs/troubleshooting.md", "gatebench doctor"))
def test_looking_into_it(reader: Reader) -> None:
    looked, shown, listed = reader.follow("docs/troubleshooting.md", "gatebench doctor")
    assert (looked.code in (0, EXIT_BAD), shown.code, listed.code) == (True, 0, 0), (looked, shown, listed)
    assert "compare" in shown.out
    assert "nightly" in listed.out


@follows(("docs/security.md", "gatebench rebuild"), ("docs/security.md", "gatebench backup"),
         ("docs/security.md", "gatebench runs"), ("docs/security.md", "prefect block"))  # fmt: skip
def test_a_copy_and_the_book_again(reader: Reader, prefect: dict[str, str]) -> None:
    backups = reader.place / "backups"
    backups.mkdir()
    reader.instead |= {"/backups": str(backups), "2026-11-24": f"{datetime.now(UTC).astimezone():%F}"}
    (before,) = reader.follow("docs/security.md", "gatebench rebuild")
    assert before.code == 0, before.err
    (copied,) = reader.follow("docs/security.md", "gatebench backup")
    assert copied.code == 0, copied.err
    listed, *restored = reader.follow("docs/security.md", "gatebench runs")
    assert [done.code for done in (listed, *restored)] == [0, 0, 0], restored
    again = reader.line("gatebench runs")
    assert again is not None
    assert (again.code, again.out) == (0, listed.out)
    assert "nightly" in again.out
    reader.env |= prefect
    (made,) = reader.follow("docs/security.md", "prefect block")
    assert made.code == 0, made
    assert "/blocks/" in made.out


WHOLE = {  # what the text says in its sentences and can be typed as it is -> the exit codes that are right here
    "gatebench --version": {0},
    "gatebench show last": {0},
    "gatebench report last --open": {0},
    "gatebench baseline show": {0},
    "gatebench prune --days 90 --dry-run": {0},
    "gatebench doctor --json -": {0, EXIT_BAD},
    "gatebench baseline accept last": {2},  # a comparison: no baseline knows it
    'gatebench baseline accept last --why "new model"': {2},
    "gatebench resume last": {2},  # the last run is whole
}
PARTS = {"gatebench compare --direct", "gatebench baseline export|import"}  # named, not spelt out


def test_every_command_within_the_text_runs(reader: Reader) -> None:
    spans = {span for page in pages.PAGES for span in pages.spans(page, "gatebench")}
    whole = {span for span in spans if len(span.split()) > 2 or "--" in span} - PARTS
    assert {span for span in whole if not re.search(r"[A-Z]{3}|…|\|", span)} == set(WHOLE)
    for span, codes in WHOLE.items():
        done = reader.line(span)
        assert done is not None and done.code in codes, (span, done)


def test_code_of_the_page_on_metrics_reads_a_run(reader: Reader) -> None:
    """The first piece: an expression over the rows that are there."""
    (reader.place / "first_answer.py").write_text(pages.blocks("docs/adding-a-metric.md", "python")[0])
    done = reader.line("python first_answer.py")
    assert done is not None and done.code == 0, done
    found = [line for line in done.out.splitlines() if re.match(r".*\bcandidate\b", line)]
    assert found and re.search(r"\d\.\d", found[0]), done.out


def test_a_metric_is_added_as_the_page_says(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, gateways: dict[str, SimulatorProcess]
) -> None:
    """In a copy of the source: steps 1 to 4, and a sweep that tells the new metric to people and to programs."""
    piece = re.fullmatch(r"(.*\n)\n\(\n(.*)\n\)\n", pages.blocks("docs/adding-a-metric.md", "python")[1], re.S)
    assert piece is not None
    (output,) = re.findall(r"`(\"headers_ms\": [^`]+)`", pages.text("docs/adding-a-metric.md"))
    for package in ("config", "storage", "tasks", "flows", "deployments"):
        shutil.copytree(pages.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, before, after in (
        ("tasks/stats/metrics.py", "DISTRIBUTIONS = (", f"{piece[1]}DISTRIBUTIONS = (\n{piece[2]}"),
        ("tasks/charts/words.py", "QUANTITIES = {", 'QUANTITIES = {"headers": "time to the headers", '),
        ("tasks/report/tables.py", "LEVEL_METRICS = (", 'LEVEL_METRICS = ("headers_p95", '),
        ("tasks/report/terminal.py", "WIDE = (", 'WIDE = ("headers_p95", '),
        ("flows/outputs.py", '        "ttft_ms": ', f'        {output},\n        "ttft_ms": '),
    ):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{file}: {before}"
        (tmp_path / file).write_text(text.replace(before, after), encoding="utf-8")
    env = {**bare(), "GATEBENCH_HOME": str(laid_out(tmp_path / "home", tmp_path_factory)), "COLUMNS": "160"}
    words = ["--url", gateways["4000"].url, "--model", "m", "--requests", "100", "--concurrency", "2", *SURE]
    done = alone({**env, "PYTHONPATH": str(tmp_path)}, tmp_path, "sweep", *words, "--json", "sweep.json")
    assert done.code == 0, done.err
    assert "time to the headers" in done.out
    told = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    (level,) = told["levels"]
    assert 0 < level["headers_ms"]["p95"]["point"] < 2 * level["latency_ms"]["p95"]["point"]
    assert "time to the headers" in Path(told["report"]).read_text(encoding="utf-8")


@follows(("docs/adding-a-channel.md", "export GATEBENCH_ALERT_URLS"))
def test_the_receiver_of_the_page_on_channels_is_told(
    open_readers: Callable[[str], Reader], gateways: dict[str, SimulatorProcess]
) -> None:
    """The page's own receiver, told of a broken objective, beside the channels of its first line, where nobody is."""
    reader, port = open_readers("channel"), unused_port()
    nobody = f"json://127.0.0.1:{unused_port()}/"
    reader.instead |= {"slack://": nobody, "mailto://user:password@mail.example.org": nobody}
    reader.follow("docs/adding-a-channel.md", "export GATEBENCH_ALERT_URLS")
    (piece,) = pages.blocks("docs/adding-a-channel.md", "python")
    (reader.place / "receiver.py").write_text(piece.replace("8099", str(port)))
    (address,) = re.findall(r"`GATEBENCH_ALERT_URLS=(json://127[^`]+)`", pages.text("docs/adding-a-channel.md"))
    reader.env["GATEBENCH_ALERT_URLS"] += f",{address.replace('8099', str(port))}"
    heard = reader.place / "heard"
    with heard.open("w") as out:
        receiver = subprocess.Popen([sys.executable, "-u", "receiver.py"], cwd=reader.place, stdout=out, stderr=out)
    try:
        until(lambda: answers(port), "the receiver does not listen")
        small = ["replay.enabled=false", "sweep.levels=[1]", "sweep.requests=40"]
        changes = [f"targets.0.url={gateways['4000'].url}", 'slos=["p50(latency){level=1} < 1ms"]', *small, *LIMITS]
        words = [word for change in changes for word in ("--set", change)]
        done = reader.gatebench("nightly", "--plan", "smoke", *words, **reader.env)
    finally:
        receiver.kill()
        receiver.wait()
    assert done.code == 11, done.err
    assert heard.read_text().startswith(
        "gatebench: smoke objective broken\nObjective broken: p50(latency){level=1} < 1ms"
    )
    assert not [word for word in ("TokenA", "TokenB", "TokenC") if word in done.out + done.err]


@follows(("README.md", "gatebench trend"))
def test_the_weeks(open_readers: Callable[[str], Reader]) -> None:
    """On a book with ten quiet nights and a slower one."""
    reader = open_readers("weeks")
    house = House(reader.place / ".gatebench")
    for factors in [None] * 10 + [{"latency_p95": 1.2, "latency_p99": 1.2}]:
        house.night(factors)
    house.held.close()
    trend, page, incidents, ack, accepted = reader.follow("README.md", "gatebench trend")
    assert [done.code for done in (trend, page, incidents, ack, accepted)] == [0] * 5, (page, ack, accepted)
    assert "11 nights" in trend.out
    assert "<svg" in (reader.place / "weeks.html").read_text(encoding="utf-8")
    assert "p95 latency" in incidents.out
    assert ack.out == "incident 1 is acknowledged\n"
    assert Book(reader.place / ".gatebench" / "gatebench.duckdb").watch.incident("1").status == "accepted"


@follows(("docs/operating.md", "gatebench init"), ("README.md", "gatebench up"))
def test_one_command_on_one_machine(
    open_readers: Callable[[str], Reader], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Server, deployments and worker, as the page on operating starts them."""
    reader, port = open_readers("operating"), unused_port()
    home = laid_out(reader.place / ".gatebench", tmp_path_factory)
    *before, up = lines_of("docs/operating.md", "gatebench init")
    (short,) = lines_of("README.md", "gatebench up")
    assert up.startswith(short.split("#")[0].strip())  # so the README's is run as well
    for line in before:
        done = reader.line(line)
        assert done is None or done.code == 0, done
    with reader.started(f"{up} --port {port}", "Ctrl-C stops all of it"):

        async def found(client: Any) -> list[Any]:
            return list(await client.read_deployments())

        api, auth = f"http://127.0.0.1:{port}/api", auth_string(home / "prefect")
        nightly = schedules(ask(api, auth, found))["nightly"]
    assert nightly == [("30 3 * * *", "Europe/Berlin")]


@follows(("README.md", "export PREFECT_API_URL"), ("docs/operating.md", "export PREFECT_API_URL"))
def test_on_a_server_of_ones_own(open_readers: Callable[[str], Reader], prefect: dict[str, str]) -> None:
    """The README's on a server that asks for a password, set beforehand; the other page sets it itself."""
    for number, page in enumerate(("README.md", "docs/operating.md")):
        reader = open_readers(f"own-{number}")
        reader.instead["http://127.0.0.1:4200/api"] = prefect["PREFECT_API_URL"]
        reader.instead["user:password"] = prefect["PREFECT_API_AUTH_STRING"]
        reader.env["PREFECT_API_AUTH_STRING"] = prefect["PREFECT_API_AUTH_STRING"] if page == "README.md" else ""
        (first,) = lines_of("docs/operating.md", "gatebench init")[:1]
        export, deploy, worker = lines_of(page, "export PREFECT_API_URL")
        made, _, deployed = reader.line(first), reader.line(export), reader.line(deploy)
        assert made is not None and deployed is not None
        assert (made.code, deployed.code) == (0, 0), deployed
        with reader.started(worker, "Ctrl-C stops it"):
            pass
        assert "nightly" in deployed.out


@follows(("docs/operating.md", "dask scheduler"))
def test_load_from_other_machines(open_readers: Callable[[str], Reader], gateways: dict[str, SimulatorProcess]) -> None:
    """On this one, as the page says how."""
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    reader, port = open_readers("machines"), unused_port()
    reader.instead |= {"10.0.0.5": "127.0.0.1", "8786": str(port), "GATEBENCH_API_KEY=…": f"GATEBENCH_API_KEY={CANARY}"}
    scheduler, worker, export = lines_of("docs/operating.md", "dask scheduler")
    reader.line(export)
    reader.env["GATEBENCH_API_KEY"] = CANARY
    url = gateways["4000"].url
    with reader.started(scheduler, "Scheduler at"), reader.started(worker, "Starting established connection"):
        sent = f"gatebench load --url {url} --model m --rate 100 --duration 2s --set fleet.workers=2 --json load.json"
        done = reader.line(sent)
        assert done is not None and done.code == 0, done
        book = Book(reader.place / ".gatebench" / "gatebench.duckdb")
        legs = [leg for leg in book.legs(book.runs()[0].run_id) if leg.series == "load"]
        sent_by = [
            int(worker.name.split()[-1].strip(")")) for leg in legs for worker in leg.workers
        ]  # host (process 7)
        assert len(sent_by) == 2
        assert all("dask" in parent_of(process) for process in sent_by)


def parent_of(process: int) -> str:
    """The command that started a process."""
    (parent,) = re.findall(r"^PPid:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.M)
    return Path(f"/proc/{parent}/cmdline").read_text().replace("\0", " ")


def schedules(deployments: list[Any]) -> dict[str, list[tuple[str, str]]]:
    """(cron, time zone) of what is on, by the deployment's name."""
    return {
        one.name: [(each.schedule.cron, each.schedule.timezone) for each in one.schedules if each.active]
        for one in deployments
    }


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def lines(page: str) -> list[str]:
    """Of all shell blocks."""
    return [line for block in pages.shell(page) for line in block if line.split("#")[0].strip()]


@pytest.mark.parametrize("page", pages.PAGES)
def test_every_line_of_every_page_is_run(page: str) -> None:
    followed = [shlex.split(line, comments=True) for where, block in FOLLOWED for line in lines_of(where, block)]
    for line in lines(page):
        here = shlex.split(line, comments=True) in followed
        assert here or line.startswith((*ELSEWHERE, *NOT_HERE)), f"{page}: nobody runs `{line}`"


def test_nothing_is_said_to_be_run_that_no_page_has() -> None:
    told = [line for page in pages.PAGES for line in lines(page)]
    assert [begins for begins in (*ELSEWHERE, *NOT_HERE) if not any(line.startswith(begins) for line in told)] == []
    assert [file for file in ELSEWHERE.values() if not (pages.ROOT / file).is_file()] == []
    for page, block in FOLLOWED:
        assert lines_of(page, block)
