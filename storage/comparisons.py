"""Targets side by side, as a run found them. As in `storage.results`, `put_…` replaces what the run had."""

import json
from collections.abc import Sequence
from dataclasses import fields

import duckdb

from storage.records import Comparison, to_json

Con = duckdb.DuckDBPyConnection

COLUMNS = ("baseline", "candidate", "metric", "level", "effect", "verdict")
PUT = """
insert into comparisons (run_id, place, baseline, candidate, metric, level, effect, verdict, record)
values ($run_id, $place, $baseline, $candidate, $metric, $level, $effect, $verdict, $record)
"""
GET = "select record from comparisons where run_id = $run_id order by place"


def put_comparisons(con: Con, run_id: str, found: Sequence[Comparison]) -> None:
    con.execute("delete from comparisons where run_id = $run_id", {"run_id": run_id})
    for place, one in enumerate(found):
        record = to_json(one)
        row = {name: record[name] for name in COLUMNS}
        con.execute(PUT, {"run_id": run_id, "place": place, **row, "record": json.dumps(record)})


def get_comparisons(con: Con, run_id: str) -> list[Comparison]:
    """In the order in which they were made."""
    known = {field.name for field in fields(Comparison)}
    rows = con.execute(GET, {"run_id": run_id}).fetchall()
    return [Comparison(**{k: v for k, v in json.loads(row[0]).items() if k in known}) for row in rows]
