"""The drawing script of every page, bundled once and kept."""

from importlib.metadata import version
from pathlib import Path

import pytest

from tasks.report import vega

NAME = f"vega-{version('vl-convert-python')}.js"


@pytest.fixture(autouse=True)
def afresh() -> None:
    vega.script.cache_clear()


def test_it_is_bundled_once_and_read_after_that(tmp_path: Path) -> None:
    made = vega.script(tmp_path / "kept")
    assert "window.vegaEmbed" in made
    file = tmp_path / "kept" / NAME
    assert (file.read_text(), file.stat().st_mode & 0o777) == (made, 0o600)
    file.write_text("window.vegaEmbed = kept")
    vega.script.cache_clear()
    assert vega.script(tmp_path / "kept") == "window.vegaEmbed = kept"
    file.write_text("")
    vega.script.cache_clear()
    assert vega.script(tmp_path / "kept") == made  # an emptied file draws nothing


def test_what_others_could_have_written_is_not_put_into_a_report(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("alert(1)")
    (tmp_path / NAME).chmod(0o666)
    assert len(vega.script(tmp_path)) > 100_000
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600  # made again, and ours


def test_a_folder_that_cannot_be_written_to_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(vega.script(tmp_path / "file" / "kept")) > 100_000


@pytest.mark.parametrize(("said", "where"), [("/caches", "/caches/gatebench"), ("here", "/home/me/.cache/gatebench")])
def test_the_users_cache_folder(said: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", said)
    assert vega.folder() == Path(where)
