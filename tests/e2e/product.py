"""gatebench as its users call it: a command, its exit code, and the JSON that it writes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.local import server_of_our_own
from storage.disk import make_folder
from tests.e2e.gateways import MODEL, Gateway


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    json: dict[str, Any]
    err: str


@dataclass(frozen=True, slots=True)
class Product:
    """`prefect`: the environment of a Prefect server that all commands share."""

    home: Path
    prefect: dict[str, str]

    def __call__(self, *words: str | Path) -> Answer:
        """A command with `--json -`; nothing on stdout (it was refused) is an empty object."""
        command = [sys.executable, "-m", "flows.cli", *map(str, words), "--json", "-"]
        ours = {name for name in os.environ if name.startswith(("GATEBENCH_", "PREFECT_"))}
        ours -= {name for name in ours if name.startswith("GATEBENCH_KEY_")}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        env = {**kept, "GATEBENCH_HOME": str(self.home), **self.prefect}
        print("  $ gatebench " + " ".join(map(str, words)), flush=True)
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        if not done.stdout.strip():
            print(f"  {done.returncode}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return Answer(done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr)


@contextmanager
def product(home: Path) -> Iterator[Product]:
    """With a Prefect server of its own, so that not each command has to start one."""
    with server_of_our_own(make_folder(home)) as env:
        yield Product(home, {name: value for name, value in env.items() if name.startswith("PREFECT_")})


def plan(file: Path, name: str, gateways: Sequence[Gateway], direct: str | None, workload: Path | None = None) -> Path:
    """A plan of these targets, the upstream itself among them, without a control and with nothing that stops it."""
    targets = [] if direct is None else [_target(Gateway("direct", "", direct), direct=True)]
    targets += [_target(one) for one in gateways]
    lines = [f"name = {json.dumps(name)}"]
    lines += [] if workload is None else [f"workload = {json.dumps(str(workload))}"]
    lines += [*targets, "[control]", "enabled = false", "[breaker]", "enabled = false"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _target(one: Gateway, *, direct: bool = False) -> str:
    shown = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in one.headers.items())
    return (
        f"[[targets]]\nname = {json.dumps(one.name)}\nurl = {json.dumps(one.url)}\nmodel = {json.dumps(MODEL)}\n"
        f"api_key_env = {json.dumps(one.key_env)}\nheaders = {{ {shown} }}\ndirect = {str(direct).lower()}"
    )
