"""The README is run, not believed."""

import re
import tomllib

from config.plan import make_plan
from config.settings import Settings
from config.template import plan_text
from flows.cli_doctor import EXIT_BAD
from flows.outcome import PRECEDENCE
from storage import errors
from tests.fakes import pages
from tests.fakes.pages import ROOT

README = pages.text("README.md")


def test_the_two_commands_come_first() -> None:
    assert [words[1] for words in pages.commands("README.md", "make")][:2] == ["quickstart", "test"]


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
