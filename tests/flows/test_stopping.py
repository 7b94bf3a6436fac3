"""Ctrl-C once, and twice: on a real terminal, with real signals."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from flows import stopping
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes.history import laid_out

COMMAND = [sys.executable, "-m", "flows.cli"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def close(self) -> None:
        self.said.append("closed")


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C as a terminal's program has it: what a script starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path / "home", tmp_path_factory)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_what_ends_by_itself_gives_its_result():
    async def main() -> int:
        return 7

    before = signal.getsignal(signal.SIGINT)
    assert stopping.run(main(), Screen()) == 7
    assert signal.getsignal(signal.SIGINT) is before


def test_once_cancels_and_lets_it_end_in_order():
    screen, ended = Screen(), []

    async def main() -> None:
        try:
            asyncio.get_running_loop().call_later(0.05, press)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        stopping.run(main(), screen)
    assert (screen.said, ended) == ([stopping.ONCE], ["in order"])


def test_a_sigterm_is_one_ctrl_c_however_often_it_comes():
    screen, ended = Screen(), []

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    async def main() -> None:
        try:
            asyncio.get_running_loop().call_later(0.05, terminate)
            await asyncio.sleep(60)
        finally:
            terminate()
            await asyncio.sleep(0.05)
            ended.append("in order")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        stopping.run(main(), screen)
    assert (screen.said, ended) == ([stopping.ONCE], ["in order"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_twice_does_not_wait_for_order():
    screen = Screen()

    def last() -> None:
        raise SystemExit(130)  # in place of the end of the process

    async def main() -> None:
        try:
            asyncio.get_running_loop().call_later(0.05, press)
            await asyncio.sleep(60)
        finally:
            asyncio.get_running_loop().call_later(0.05, press)
            await asyncio.sleep(60)

    with pytest.raises(SystemExit):
        stopping.run(main(), screen, last)
    assert screen.said == [stopping.ONCE, stopping.TWICE, "closed"]


# --- on a terminal


class OnATerminal:
    """A command whose stdin, stdout and stderr are a terminal of 80 columns."""

    def __init__(self, words: list[str], env: dict[str, str], cwd: Path) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - it becomes its own terminal
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def until(self, done: Callable[[], bool], seconds: float = 90.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.shown[-2000:]
            if not self.read():
                break
        assert done(), self.shown[-2000:]

    def read(self) -> bool:
        """What there is to read now; False: nobody writes any more."""
        if not select.select([self.master], [], [], 0.1)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self.master, 65_536)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def ctrl_c(self) -> None:
        os.write(self.master, b"\x03")

    def end(self, seconds: float = 60.0) -> int:
        end = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < end, self.shown[-2000:]
        return self.process.wait(10)

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.shown).replace("\r", "")


def environment(home: Path, **more: str) -> dict[str, str]:
    ours = ("GATEBENCH_", "PREFECT_", "NO_COLOR", "CI", "GITHUB_", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "GATEBENCH_HOME": str(home), "TERM": "xterm-256color", **more}


@contextmanager
def sweeping(home: Path, *before: str, requests: int = 5000, json_to: str = "", **env: str) -> Iterator[OnATerminal]:
    """`gatebench sweep` of a simulator, with the words `before` in front of the command."""
    with SimulatorProcess(SimConfig(slots=0, service_ms=5)) as simulator:
        words = [*before, *COMMAND, "sweep", "--url", simulator.url, "--concurrency", "1", "--blocks", "2"]
        words += ["--requests", str(requests), "--no-control", *(["--json", json_to] if json_to else [])]
        one = OnATerminal(words, environment(home, **env), home.parent)
        try:
            yield one
        finally:
            if one.process.poll() is None:
                os.killpg(one.process.pid, signal.SIGKILL)
            os.close(one.master)


def rows_on_disk(home: Path) -> int:
    return sum(pl.read_parquet(part, columns=["seq"]).height for part in home.glob("runs/*/first-b*/part-*.parquet"))


def status(home: Path) -> str:
    words = [*COMMAND, "runs", "--json", "-"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(home), check=True)
    (run,) = json.loads(done.stdout)["runs"]
    return str(run["status"])


@pytest.mark.server
def test_once_on_a_terminal_keeps_the_rows_and_marks_the_run(home):
    with sweeping(home) as one:
        one.until(lambda: "/s" in one.text and rows_on_disk(home) > 0)
        one.ctrl_c()
        assert one.end() == 130
    assert stopping.ONCE.split(";")[0] in " ".join(one.text.split())
    (run,) = (home / "runs").iterdir()
    assert " ".join(one.text.split()).endswith(f": gatebench show {run.name}, gatebench resume {run.name}")
    assert "Traceback" not in one.text
    assert one.shown.count("\x1b[?25h") == one.shown.count("\x1b[?25l") > 0
    assert status(home) == "cancelled"
    assert rows_on_disk(home) > 0


@pytest.mark.server
def test_twice_on_a_terminal_leaves_at_once_and_nothing_runs_on(home):
    with sweeping(home) as one:
        one.until(lambda: rows_on_disk(home) > 0)
        one.ctrl_c()
        one.until(lambda: "stopping" in one.text, 30)
        one.ctrl_c()
        assert one.end(30) == 130
        assert "Traceback" not in one.text
        assert one.shown.count("\x1b[?25h") >= one.shown.count("\x1b[?25l")
        group = one.process.pid
        end = time.monotonic() + 30
        while alive_in(group) and time.monotonic() < end:
            time.sleep(0.1)
        assert alive_in(group) == []
    assert status(home) in ("interrupted", "cancelled")
    assert rows_on_disk(home) > 0


def alive_in(session: int) -> list[str]:
    """Names of the processes of a session that have not ended."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = file.read_text().rpartition(")")
        except OSError:
            continue
        words = rest.split()
        if int(words[3]) == session and words[0] != "Z":
            found.append(head)
    return found


@pytest.mark.server
def test_json_is_all_there_is_on_stdout_and_no_color_is_kept(home):
    file = home.parent / "out.json"
    shell = ("/bin/sh", "-c", f'exec "$@" > {file}', "sh")
    with sweeping(home, *shell, requests=40, json_to="-", NO_COLOR="1") as one:
        assert one.end(120) == 0, one.text
    assert json.loads(file.read_text())["schema"] == "gatebench.sweep/1"
    assert "this run: " in one.text
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?[34][0-7]m", one.shown)
