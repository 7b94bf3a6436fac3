"""What the pages say is parsed or looked up here; tests/flows/test_pages_followed.py runs their commands."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli import PANELS, app
from storage.records import SAMPLE_COLUMNS, Failure
from tasks.stats.metrics import DISTRIBUTIONS
from tests.fakes import pages
from tests.fakes.pages import PAGES, ROOT

GROUP = typer.main.get_command(app)
LINES = [(page, words) for page in PAGES for words in pages.commands(page, "gatebench")]
MENTIONS = [(page, span) for page in PAGES for span in pages.spans(page, "gatebench")]
MAKES = [(page, words) for page in PAGES for words in pages.commands(page, "make")]
EXPECTED = {"metrics", "verdict", "reading-a-report", "troubleshooting", "gateways", "adding-a-format",
            "adding-a-metric", "adding-a-channel"}  # fmt: skip


def resolved(words: list[str]) -> tuple[Any, list[str], Any]:
    """The command that these words name, what is left of them, and the context around it."""
    context = GROUP.make_context("gatebench", words, resilient_parsing=False)
    name, command, rest = GROUP.resolve_command(context, [*context._protected_args, *context.args])
    if hasattr(command, "commands") and rest:
        inner = command.make_context(name, rest, parent=context)
        name, command, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
    return command, rest, context


def name_of(value: object) -> str:
    return value if isinstance(value, str) else " ".join(value) if isinstance(value, list) else str(value)


def test_there_are_pages_and_commands_to_look_at():
    assert {Path(page).stem for page in PAGES} >= EXPECTED
    assert len(LINES) > 40
    assert len(MENTIONS) > 20


@pytest.mark.parametrize(("page", "words"), LINES, ids=name_of)
def test_every_command_parses(page: str, words: list[str]) -> None:
    command, rest, context = resolved(words[1:])
    assert command.make_context(command.name, rest, parent=context).command is command


@pytest.mark.parametrize(("page", "span"), MENTIONS, ids=name_of)
def test_every_command_that_the_text_names_is_there_with_its_options(page: str, span: str) -> None:
    words = [word.strip("[](),") for word in span.replace("=", " ").split()[1:]]
    named = [word for word in words if re.fullmatch(r"[a-z|-]+", word) and not word.startswith("-")]
    options = {word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word)}
    if not named:  # `gatebench --version`, `gatebench …`
        assert options <= {option for parameter in GROUP.params for option in parameter.opts} | {"--help"}
        return
    for name in named[0].split("|"):
        command = GROUP.commands[name]
        if hasattr(command, "commands") and len(named) > 1:
            assert set(named[1].split("|")) <= set(command.commands), span
            command = command.commands[named[1].split("|")[0]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert options <= known | {"--help"}, f"{page}: {span}"


@pytest.mark.parametrize(("page", "words"), MAKES, ids=name_of)
def test_every_make_command_is_one_that_make_can_begin(page: str, words: list[str]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run([*words, "--dry-run"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_help_names_every_target():
    words = ["make", "--no-print-directory", "help"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [line.split()[0] for line in said.splitlines()] == targets


@pytest.mark.parametrize("page", PAGES)
def test_every_local_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", pages.text(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        there = (ROOT / page).parent / file if file else ROOT / page
        assert there.exists(), f"{page}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_every_python_that_a_page_calls_is_there(page: str) -> None:
    for words in pages.commands(page, ".venv/bin/python") + pages.commands(page, "python"):
        if "-m" in words:
            module = words[words.index("-m") + 1]
            ours = module.split(".")[0] in ("tests", "tasks", "flows", "deployments")
            assert not ours or (ROOT / (module.replace(".", "/") + ".py")).is_file(), words
        else:
            assert (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_code_are_code(page: str) -> None:
    for block in pages.blocks(page, "python"):
        compile(block, page, "exec")
    for block in pages.blocks(page, "toml"):
        tomllib.loads(block)


def test_every_sentence_that_is_explained_is_one_that_is_said():
    said = pages.sentences()
    rows = pages.table("docs/troubleshooting.md", "it says") + pages.table("docs/troubleshooting.md", "the reason says")
    assert len(rows) > 30
    for cells in rows:
        fragment = re.findall(r"`([^`]+)`", cells[0])[0].split("…")
        assert any(all(part in one for part in fragment) for one in said), cells[0]


def test_every_way_to_fail_is_explained():
    rows = pages.table("docs/troubleshooting.md", "failure")
    explained = {name for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}
    assert explained == {str(kind) for kind in Failure}


def test_every_stamp_and_metric_is_explained():
    stamps = {name for cells in pages.table("docs/metrics.md", "column") for name in re.findall(r"`(\w+)`", cells[0])}
    assert stamps <= set(SAMPLE_COLUMNS)
    assert stamps >= {name for name in SAMPLE_COLUMNS if name.endswith("_ns")}
    metrics = {cells[0].strip("`") for cells in pages.table("docs/metrics.md", "metric")}
    assert metrics >= {d.name for d in DISTRIBUTIONS} | {
        "itl",
        "throughput",
        "goodput",
        "output_tokens_per_s",
        "errors",
    }


def test_every_command_stands_in_one_panel_of_the_help():
    named = [name for names in PANELS.values() for name in names.split()]
    assert sorted(named) == sorted(GROUP.commands)
