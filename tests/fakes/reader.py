"""Somebody who follows a page: line by line, in one folder, with the addresses of this place for those of the page."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes import pages
from tests.fakes.command import UMASK, Commands, Done, bare

BIN = Path(sys.executable).parent


@dataclass
class Reader:
    """`instead`: what is written in the page -> what is meant here. `more`: what is added to a command by its name.
    `env`: what this shell has exported so far."""

    place: Path
    gatebench: Commands
    instead: dict[str, str]
    more: Mapping[str, tuple[str, ...]]
    env: dict[str, str] = field(default_factory=dict)

    def follow(self, page: str, block: str) -> list[Done]:
        """What each command said of the block that begins so."""
        found = [self.line(line) for line in lines_of(page, block)]
        return [done for done in found if done is not None]

    def line(self, text: str) -> Done | None:
        """None: nothing was run, but something exported."""
        words = shlex.split(self._meant(text), comments=True)
        if words[:1] in ([], ["export"]):
            self.env |= dict(word.split("=", 1) for word in words[1:])
            return None
        if words[0] == "gatebench":
            return self.gatebench(*words[1:], *self.more.get(words[1], ()), **self.env)
        command = ["bash", "-c", self._meant(text)]
        done = subprocess.run(
            command, cwd=self.place, env=self._shell(), capture_output=True, text=True, umask=UMASK, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, text: str, until: str) -> Iterator[list[str]]:
        """A line that runs until Ctrl-C; yields what it has said when it says `until`. It must end by itself then."""
        words, env = shlex.split(self._meant(text), comments=True), self._shell()
        while "=" in words[0]:
            env |= dict([words.pop(0).split("=", 1)])
        process = subprocess.Popen(
            [str(BIN / words[0]), *words[1:]],
            cwd=self.place,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said: list[str] = []
        try:
            while not said or until not in said[-1]:
                line = process.stdout.readline()
                assert line, f"{text} ended: {said}"
                said.append(line)
            yield said
        finally:
            process.send_signal(signal.SIGINT)
            try:
                said += process.communicate(timeout=120)[0].splitlines(keepends=True)
            finally:
                process.kill()
        assert process.returncode == 0, said

    def _meant(self, text: str) -> str:
        for theirs, ours in self.instead.items():
            text = text.replace(theirs, ours)
        return re.sub(
            r"\$\(([^)]*)\)", lambda asked: subprocess.check_output(shlex.split(asked[1]), text=True).strip(), text
        )

    def _shell(self) -> dict[str, str]:
        return {**bare(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **self.env}


def lines_of(page: str, block: str) -> list[str]:
    """The lines of the one shell block of a page that begins so."""
    (found,) = [lines for lines in pages.shell(page) if lines[0].startswith(block)]
    return [line for line in found if line.split("#")[0].strip()]
