"""`gatebench doctor` as a user meets it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local import unused_port
from tests.fakes.history import quiet_server

GRADES = {"ok", "warn", "bad"}


def doctor(home: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GATEBENCH_", "PREFECT_"))}
    env = {**kept, "GATEBENCH_HOME": str(home), **more}
    command = [sys.executable, "-m", "flows.cli", "doctor", "--seconds", "0.1", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=home.parent)


def found(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, str]]:
    said = json.loads(done.stdout)
    assert said["schema"] == "gatebench.doctor/1"
    assert done.returncode == (18 if said["worst"] == "bad" else 0)
    return {one["name"]: one for one in said["findings"]}


def test_json_is_all_that_is_written_and_nothing_is_made(tmp_path):
    done = doctor(tmp_path / "home", "--json", "-")
    assert done.stderr == ""
    told = found(done)
    assert {one["grade"] for one in told.values()} <= GRADES
    assert {"other load", "steal", "governor", "descriptors", "local ports", "clock sync", "packages"} <= set(told)
    assert all(bool(one["mend"]) == (one["grade"] != "ok") for one in told.values())
    assert not (tmp_path / "home").exists()


def test_lines_fit_80_columns(tmp_path):
    done = doctor(tmp_path / "home", COLUMNS="80")
    assert done.stdout.startswith(("ok ", "warn ", "bad "))
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_is_bad_is_said_by_the_exit_code_too(tmp_path):
    (tmp_path / "gatebench.toml").write_text('api_key = "k"\n')
    (tmp_path / "gatebench.toml").chmod(0o644)
    done = doctor(tmp_path / "home", "--json", "-")
    assert done.returncode == 18
    assert found(done)["file modes"]["mend"] == "chmod go= gatebench.toml"
    assert doctor(tmp_path / "home", "--quiet").stdout == ""


def test_a_server_that_is_not_there_is_bad(tmp_path):
    done = doctor(tmp_path / "home", "--json", "-", PREFECT_API_URL=f"http://127.0.0.1:{unused_port()}/api")
    assert found(done)["Prefect server"]["grade"] == "bad"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server as `gatebench up` starts it: what its clients on this machine need to know."""
    with quiet_server(tmp_path_factory.mktemp("server"), tmp_path_factory) as env:
        yield {name: env[name] for name in ("PREFECT_API_URL", "PREFECT_HOME")}


@pytest.mark.server
def test_a_server_of_our_own_has_none_of_prefects_open_defaults(tmp_path, ours):
    told = found(doctor(tmp_path / "home", "--json", "-", **ours))
    mine = {name: one["grade"] for name, one in told.items() if name.startswith("Prefect")}
    assert mine == {
        "Prefect server": "ok",
        "Prefect login": "ok",
        "Prefect CORS": "ok",
        "Prefect CSRF": "ok",
        "Prefect analytics": "ok",
        "Prefect UI V2": "ok",
    }
