"""Targets side by side, as a run found them. As in `storage.results`, `put_…` replaces what the run had."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import duckdb

from storage.records import Comparison, to_json
from storage.rows import FROM_JSON, fill

Con = duckdb.DuckDBPyConnection

COLUMNS = ("baseline", "candidate", "metric", "level", "effect", "verdict")
PUT = "insert into comparisons " + FROM_JSON
GET = "select record from comparisons where run_id = $run_id order by place"


def put_comparisons(con: Con, run_id: str, found: Sequence[Comparison]) -> None:
    con.execute("delete from comparisons where run_id = $run_id", {"run_id": run_id})
    fill(con, PUT, "comparisons", [_row(run_id, place, to_json(one)) for place, one in enumerate(found)])


def get_comparisons(con: Con, run_id: str) -> list[Comparison]:
    """In the order in which they were made."""
    known = {field.name for field in fields(Comparison)}
    rows = con.execute(GET, {"run_id": run_id}).fetchall()
    return [Comparison(**{k: v for k, v in json.loads(row[0]).items() if k in known}) for row in rows]


def _row(run_id: str, place: int, record: dict[str, Any]) -> dict[str, Any]:
    columns = {name: record[name] for name in COLUMNS}
    return {"run_id": run_id, "place": place, **columns, "record": json.dumps(record)}
