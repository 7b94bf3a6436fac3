"""compose.yaml, the Dockerfile and the systemd units, as far as they can be read: every path is there, every command
parses, and nothing is open that the local server keeps closed. tests/e2e/unattended.py runs them, on a real systemd and
a real Docker engine."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deployments.local import HARDENED
from flows.cli import app

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deployments"
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "gatebench"}
UNITS = sorted((HERE / "systemd").glob("*.service"))
ENV_FILE = dict(
    line.split("=", 1)
    for line in (HERE / "prefect.env").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)


def lines_of(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.M)


def parses(words: list[str]) -> None:
    """Is this a command of ours or of Prefect? Raises where it is not."""
    name = Path(words[0]).name
    assert shutil.which(name, path=str(Path(sys.executable).parent)), name
    if name == "gatebench":
        group = typer.main.get_command(app)
        context = group.make_context("gatebench", words[1:])
        command, inner, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        inner.make_context(command, rest, parent=context)
    else:
        assert words[1:] == ["server", "start", "--host", words[4], "--port", "4200"]


def test_the_services_are_a_database_a_server_a_deploy_and_a_worker_in_this_order():
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert waits == {
        "database": {},
        "server": {"database": {"condition": "service_healthy"}},
        "deploy": {"server": {"condition": "service_healthy"}},
        "worker": {"deploy": {"condition": "service_completed_successfully"}},
    }
    assert "healthcheck" in SERVICES["database"]
    assert "healthcheck" in SERVICES["server"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_in_compose_is_one_and_its_files_are_there(name: str, tmp_path: Path):
    service = OURS[name]
    words = [str(tmp_path / "p.toml") if word.startswith("/etc/") else word for word in service["command"]]
    (tmp_path / "p.toml").write_text("")
    parses(words)
    assert [(HERE / file).is_file() for file in service["env_file"]] == [True]
    build = HERE / service["build"]["context"]
    assert (build / service["build"]["dockerfile"]).is_file()


def test_only_the_server_is_reachable_and_only_from_this_machine():
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "server": ["127.0.0.1:4200:4200"]
    }


@pytest.mark.parametrize("name", OURS)
def test_a_container_may_do_little(name: str):
    service = OURS[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_server_in_compose_asks_for_a_password_and_knows_its_pages():
    env = SERVICES["server"]["environment"]
    assert env["PREFECT_SERVER_API_AUTH_STRING"] == "${GATEBENCH_PREFECT_AUTH}"
    assert env["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "${GATEBENCH_PREFECT_ORIGIN:-http://127.0.0.1:4200}"
    assert env["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg://")
    assert {**HARDENED, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"} == ENV_FILE


def test_compose_names_each_variable_in_its_example_and_holds_no_secret():
    text = (HERE / "compose.yaml").read_text()
    named = set(re.findall(r"\$\{(\w+)", text))
    example = set(re.findall(r"^#? ?(\w+)=", (HERE / "compose.env.example").read_text(), re.M))
    assert named - example <= {"GATEBENCH_SALT"}
    assert example <= named
    for name in ("GATEBENCH_PREFECT_AUTH", "GATEBENCH_POSTGRES_PASSWORD", "GATEBENCH_PLAN"):
        assert f"${{{name}:?" in text, f"{name} may be empty"


def test_the_image_has_all_that_is_imported_and_runs_as_nobody_special():
    lines = (HERE / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"config", "storage", "tasks", "flows", "deployments", "constraints.txt"} <= set(copied)
    assert lines.index("USER gatebench") > max(i for i, line in enumerate(lines) if line.startswith("RUN"))
    ignored = (HERE / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_is_one_as_its_own_user_with_the_shipped_settings(unit: Path, tmp_path: Path):
    (tmp_path / "p.toml").write_text("")
    commands = lines_of(unit, "ExecStart") + lines_of(unit, "ExecStartPre")
    assert commands
    for command in commands:
        words = shlex.split(command.replace("/etc/gatebench/plan.toml", str(tmp_path / "p.toml")))
        assert words[0].startswith("/opt/gatebench/.venv/bin/")
        parses(words)
    assert lines_of(unit, "User") == ["gatebench"]
    # Neither is optional (a leading dash would make it so): without the password there is no server.
    assert lines_of(unit, "EnvironmentFile") == ["/etc/gatebench/prefect.env", "/etc/gatebench/secrets.env"]
    assert "PYTHONSAFEPATH=1" in lines_of(unit, "Environment")


def test_the_server_is_stopped_by_the_signal_that_prefect_ends_on_and_the_worker_before_its_runs():
    server, worker = ({key: lines_of(u, key) for key in ("KillSignal", "KillMode")} for u in UNITS)
    assert server == {"KillSignal": ["SIGINT"], "KillMode": []}
    assert worker == {"KillSignal": ["SIGTERM"], "KillMode": ["mixed"]}
    signals = {name: service.get("stop_signal", "SIGTERM") for name, service in OURS.items()}
    assert signals == {"server": "SIGINT", "deploy": "SIGTERM", "worker": "SIGTERM"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_to_say_about_a_unit(unit: Path, tmp_path: Path):
    """With programs and a user that are there; those of the unit are made when it is installed."""
    for one in UNITS:
        text = one.read_text().replace("/opt/gatebench/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / one.name).write_text(
            text.replace("=gatebench\n", "=root\n").replace("Directory=root", "Directory=gatebench")
        )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if "gatebench" in line]
    assert (about, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_has_three_sections(unit: Path):
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(unit.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
