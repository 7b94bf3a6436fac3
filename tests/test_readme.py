"""The README is run, not believed."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from config.plan import make_plan
from config.settings import Settings
from config.template import plan_text
from flows.cli import app
from flows.cli_doctor import EXIT_BAD
from flows.outcome import PRECEDENCE
from storage import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands(first: str) -> list[list[str]]:
    """Every line of the shell blocks that begins with `first`, as words, comments left out."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{first} ")]


@pytest.mark.parametrize("words", commands("gatebench"), ids=" ".join)
def test_every_command_parses(words: list[str]) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("gatebench", words[1:], resilient_parsing=False)
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    if hasattr(command, "commands") and rest:
        inner = command.make_context(name, rest, parent=context)
        name, command, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
    assert command.make_context(name, rest, parent=context).command is command


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_every_make_target_is_there(words: list[str]) -> None:
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert words[1] in targets


def test_the_two_commands_come_first() -> None:
    assert [words[1] for words in commands("make")][:2] == ["quickstart", "test"]


def test_every_local_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_exit_code_is_explained() -> None:
    table = README.partition("## Exit codes")[2].partition("## ")[0]
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    assert explained == raised | set(PRECEDENCE) | {0, 17, EXIT_BAD}


def test_every_setting_is_explained_and_every_setting_named_is_one() -> None:
    named = {name.partition("__")[0] for name in re.findall(r"^\| `GATEBENCH_(\w+)`", README, re.M)} - {
        "SALT",
        "SETTINGS",
    }
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_plan_that_init_writes_is_a_plan() -> None:
    text = plan_text("mine", "http://127.0.0.1:4000/v1", "m")
    plan = make_plan(tomllib.loads(text), "template")
    assert (plan.name, plan.targets[0].model, plan.sweep.levels) == ("mine", "m", (1, 10, 50, 100))


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
