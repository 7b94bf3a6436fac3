"""`gatebench …` as a user types it, in a process that many commands share: each would need seconds to start its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "flows.cli"]
UMASK = 0o022  # of a user's shell; ours may be that of a flow that ran in this process (`keep_private`)
DRIVER = """
import json, os, sys, tempfile
from flows.cli import run
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    asked = json.loads(line)
    before = dict(os.environ)
    os.environ.update(asked["env"])
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            code = run(asked["args"])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for fd, was in enumerate(saved, 1):
                os.dup2(was, fd)
                os.close(was)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    os.environ.clear()
    os.environ.update(before)
    print(json.dumps([code, *texts]), file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of a refusal; the forecast may stand before it."""
        lines = [line for line in self.err.splitlines() if not line.startswith("this run: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("gatebench: ")
        return lines[0].removeprefix("gatebench: ")


class Commands:
    """`commands("sweep", "--url", …, GATEBENCH_API_KEY="k")`; names in capitals are set for this command only."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, *args: str | Path, **settings: str) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = json.dumps({"args": [str(arg) for arg in args], "env": settings})
        print(asked, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with {self._process.wait(60)} during {args}"
        return Done(*json.loads(answer))


@contextmanager
def commands(env: Mapping[str, str], folder: Path) -> Iterator[Commands]:
    """Commands with this environment, at work in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(env),
        cwd=folder,
        umask=UMASK,
    )
    try:
        yield Commands(process)
    finally:
        process.communicate()
    assert process.returncode == 0


def alone(env: Mapping[str, str], folder: Path, *args: str | Path) -> Done:
    """The same in a process of its own."""
    words = [*COMMAND, *map(str, args)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(env), cwd=folder, umask=UMASK, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def bare() -> dict[str, str]:
    """The environment without what somebody may have set on this machine."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEBENCH_", "PREFECT_"))}
