"""Many rows into a table in one statement: DuckDB reads them from one JSON text (a statement a row costs 2 ms each)."""

import json
from collections.abc import Sequence
from typing import Any

import duckdb

Con = duckdb.DuckDBPyConnection

# What follows `insert into T` or `insert or replace into T`.
FROM_JSON = "by name select unnest(from_json_strict($rows, $shape), recursive := true)"
COLUMNS = "select column_name, data_type from duckdb_columns() where table_name = $table and not internal"


def fill(con: Con, sql: str, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Run `sql`, which ends in FROM_JSON, with rows that all have the same keys: columns of `table`, whose others take
    their defaults. A JSON column takes text. Raises KeyError for a key that is no column."""
    if not rows:
        return
    kinds = dict(con.execute(COLUMNS, {"table": table}).fetchall())
    shape = {name: "VARCHAR" if kinds[name] == "JSON" else kinds[name] for name in rows[0]}
    con.execute(sql, {"rows": json.dumps(rows), "shape": json.dumps([shape])})
