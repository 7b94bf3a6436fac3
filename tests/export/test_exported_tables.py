from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from storage.errors import StorageError, UsageError
from tasks.export.tables import estimates, write_table


def test_an_estimate_is_a_row_with_its_unit_and_its_interval(found: Callable[..., Any], tmp_path: Path) -> None:
    facts = found()
    write_table(estimates(facts.run, facts.cells), tmp_path / "e.csv", "csv")
    lines = (tmp_path / "e.csv").read_text().splitlines()
    assert lines[0] == (
        "run_id,plan,started_at,attempt,target,series,level,metric,unit,point,lower,upper,requests,blocks,at_least"
    )
    assert lines[3] == "r7,nightly,2026-03-08T03:30:00+00:00,first,gw,sweep,10,throughput,1/s,80.0,72.0,,200,2,false"
    assert len(lines) == 1 + len(facts.cells)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_rows_come_back_as_they_were_lists_in_a_cell(kind: str, tmp_path: Path) -> None:
    rows = pl.DataFrame({"seq": [1, 2, 3], "gaps": [[10, 20], [], None], "failure": [None, "reset", None]})
    path = tmp_path / f"rows.{kind}"
    write_table(rows.lazy(), path, kind)
    if kind == "parquet":
        assert pl.read_parquet(path).equals(rows)
    else:
        assert path.read_text() == 'seq,gaps,failure\n1,10 20,\n2,"",reset\n3,,\n'
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        write_table(pl.LazyFrame({"a": [1]}), tmp_path / "nope" / "x.csv", "csv")


def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(StorageError):
        write_table(pl.LazyFrame({"a": [1]}), tmp_path / "x.csv", "csv")
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]
