"""A package that is installed may bring a log format of its own."""

import sys
from pathlib import Path

import pytest

from storage.errors import UsageError
from tasks.workload.capture import capture
from tasks.workload.formats.detect import adapters

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-format.md").read_text(encoding="utf-8")
MODULE = PAGE.partition("```python\n")[2].partition("```")[0]
ENTRY = PAGE.partition('[project.entry-points."gatebench.formats"]\n')[2].partition("\n")[0].replace('"', "")
CHAT = {"acme_version": 2, "id": "a", "kind": "chat", "received_at": "2026-11-24T06:49:51.5Z", "model": "small"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(entry point, code) puts a package with its metadata on sys.path, as an installer would."""

    def install(entry: str, code: str = MODULE) -> None:
        folder = tmp_path / "site"
        info = folder / "acme_logs-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-logs\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gatebench.formats]\n{entry}\n")
        (folder / "acme_logs.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        sys.modules.pop("acme_logs", None)
        adapters.cache_clear()

    yield install
    sys.modules.pop("acme_logs", None)
    monkeypatch.undo()
    adapters.cache_clear()


def test_the_example_of_the_page_is_known_by_content_and_by_name(package, log):
    package(ENTRY)
    path = log(
        CHAT | {"prompt_tokens": 7, "completion_tokens": 3, "took_ms": 250, "stream": True, "max_tokens": 9},
        CHAT | {"id": "b", "error_code": 429, "completion_tokens": 0, "received_at": "2026-11-24T06:49:52Z"},
        CHAT | {"kind": "embedding"},
        CHAT | {"received_at": None},
    )
    for format in ("auto", "acme"):
        captured = capture([path], format=format)
        first, second = captured.workload.arrivals()
        assert (first.model, first.input_tokens, first.output_tokens, first.duration_ns) == ("small", 7, 3, 250_000_000)
        assert (first.stream, first.max_output_tokens) == (True, 9)
        assert (second.failure, second.output_tokens) == ("429", None)
        assert captured.ledger.in_words() == ("4 rows read = 2 kept + 2 dropped (1 kind embedding, 1 no received_at)")
        assert captured.workload.header.formats == ("acme",)


def test_one_that_cannot_be_loaded_is_named(package):
    package("acme = acme_logs:Acme", "import nothing_of_that_name")
    with pytest.raises(UsageError, match=r"the package acme-logs brings the log format 'acme', which cannot be loaded"):
        adapters()


def test_one_that_is_no_adapter_is_named_with_what_it_lacks(package):
    package("acme = acme_logs:Acme", "class Acme:\n    name = 'acme'\n")
    with pytest.raises(UsageError, match="whose adapter has no arrival_basis, recognises, read"):
        adapters()


def test_one_of_ours_is_not_replaced(package):
    package("litellm = acme_logs:Acme")
    with pytest.raises(UsageError, match="a log format called 'litellm', which gatebench has itself"):
        adapters()
