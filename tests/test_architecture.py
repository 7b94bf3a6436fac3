"""Who may import whom, read from the source. A flat file in tasks/ is a Prefect task; a folder in tasks/ has never
heard of Prefect."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("config", "storage", "tasks", "flows", "deployments")
FILES = sorted(file for package in OURS for file in (ROOT / package).rglob("*.py"))
FOLDERS = sorted(folder.name for folder in (ROOT / "tasks").iterdir() if (folder / "__init__.py").is_file())
LONGEST = 300
# Longer files, each with the reason why it is one file.
LONGER = {
    "storage/records.py": "the nouns that everybody shares",
}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imports(file: Path) -> Iterator[str]:
    """Every module that a file names, wherever in it: `from a import b` gives both a and a.b, for b may be a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offences(files: list[Path], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name_of(file)} imports {module}"
        for file in files
        for module in imports(file)
        if within(module, forbidden) and not within(module, allowed)
    ]


def under(*names: str) -> list[Path]:
    """The files of some packages, or one file."""
    return [
        file for file in FILES if any(name_of(file) == name or name_of(file).startswith(f"{name}/") for name in names)
    ]


def test_there_is_something_to_look_at():
    assert {"alerts", "charts", "load", "report", "simulator", "stats", "workload"} <= set(FOLDERS)
    assert len(FILES) > 80
    found = list(imports(ROOT / "tasks" / "measure.py"))
    assert {"prefect", "prefect.task", "storage.records", "storage.records.Leg"} <= set(found)


def test_config_imports_nothing_of_ours():
    assert offences(under("config"), ("storage", "tasks", "flows", "deployments", "prefect")) == []


def test_records_and_errors_need_the_standard_library_only():
    for file in under("storage/records.py", "storage/errors.py"):
        tops = {module.partition(".")[0] for module in imports(file)}
        assert tops <= sys.stdlib_module_names, name_of(file)


def test_storage_knows_nobody_above_it():
    assert offences(under("storage"), ("tasks", "flows", "config", "deployments", "prefect")) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_tasks_knows_neither_prefect_nor_the_plan_nor_the_book_nor_another_folder(folder: str):
    others = tuple(f"tasks.{name}" for name in FOLDERS if name != folder and (folder, name) != ("report", "charts"))
    wrappers = tuple(f"tasks.{file.stem}" for file in (ROOT / "tasks").glob("*.py") if file.stem not in FOLDERS)
    above = ("prefect", "config", "flows", "deployments", "storage.store")
    assert offences(under(f"tasks/{folder}"), above + others + wrappers) == []


def test_the_steps_know_no_flow():
    assert offences(under("tasks"), ("flows", "deployments")) == []


def test_prefect_is_known_to_flows_deployments_and_the_flat_files_of_tasks_only():
    knowing = {name_of(file) for file in FILES if any(within(module, ("prefect",)) for module in imports(file))}
    flat = {name_of(file) for file in (ROOT / "tasks").glob("*.py")}
    assert [name for name in sorted(knowing - flat) if not name.startswith(("flows/", "deployments/"))] == []


def test_only_the_command_line_reaches_for_deployments():
    files = [file for file in under("flows") if not file.name.startswith("cli")]
    assert offences(files, ("deployments",)) == []


def test_every_init_is_empty():
    assert [name_of(file) for file in FILES if file.name == "__init__.py" and file.read_bytes()] == []


def test_a_file_is_short_or_says_why_not():
    long = {name_of(file) for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > LONGEST}
    assert long == set(LONGER)


def test_no_two_test_files_share_a_name():
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("module", ["tasks.load.leg", "tasks.load.fleet", "tasks.simulator.process"])
def test_the_instrument_starts_without_prefect(module: str):
    script = f"import sys, {module}; print(sorted({{'prefect', 'pydantic', 'config', 'altair'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_line_helps_without_importing_what_a_measurement_needs():
    script = (
        "import sys, flows.cli; print(sorted({'prefect', 'polars', 'duckdb', 'altair', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
