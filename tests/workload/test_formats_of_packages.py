"""A package that is installed may bring a log format of its own."""

import sys

import pytest

from storage.errors import UsageError
from tasks.workload.capture import capture
from tasks.workload.formats.detect import adapters

MODULE = """
from collections.abc import Iterable, Iterator, Sequence

from tasks.workload.formats.adapter import Drop, Line, Row


class Acme:
    name = "acme"
    arrival_basis = "the number in front (seconds since the beginning)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return bool(head) and head[0].startswith(b"#acme")

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for number, line in lines:
            if line.startswith(b"#"):
                yield Drop(number, "a comment", broken=False)
                continue
            at, model = line.decode().split()
            yield Row(number, None, int(at) * 10**9, None, None, model, 1, 1, None, None, None, None, None, None, None)
"""


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


def test_its_format_is_known_by_content_and_by_name(package, tmp_path):
    package("acme = acme_logs:Acme")
    log = tmp_path / "a.log"
    log.write_text("#acme\n0 small\n2 large\n")
    for format in ("auto", "acme"):
        captured = capture([log], format=format)
        assert [a.model for a in captured.workload.arrivals()] == ["small", "large"]
        assert captured.ledger.in_words() == "3 rows read = 2 kept + 1 dropped (1 a comment)"


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
