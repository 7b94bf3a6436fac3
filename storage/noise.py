"""A/A studies in the book. Every function is one step inside a transaction."""

import json
from typing import Any

import duckdb

from storage.errors import UsageError
from storage.records import Noise, NoisePart, Outlook, Spread, to_json
from storage.rows import FROM_JSON, fill

Con = duckdb.DuckDBPyConnection

PUT = "insert or replace into noise " + FROM_JSON
COLUMNS = ("noise_id", "made_at", "source", "target", "workload_id", "fingerprint", "groups")


def put(con: Con, noise: Noise) -> None:
    """A study under the same id is replaced."""
    record = to_json(noise)
    columns = {name: record[name] for name in COLUMNS}
    row = {**columns, "too_noisy": bool(noise.warnings), "record": json.dumps(record)}
    fill(con, PUT, "noise", [row])


def find(con: Con, name: str) -> Noise:
    """By id, by a prefix that only one has, or `last`. Raises UsageError naming what there is instead."""
    rows = con.execute("select noise_id, record from noise order by made_at desc, noise_id desc").fetchall()
    if not rows:
        raise UsageError("no A/A study in this book yet; `gatebench aa --url …` makes the first")
    if name == "last":
        return _noise(rows[0][1])
    exact = [row for row in rows if row[0] == name]
    fitting = exact or [row for row in rows if name and row[0].startswith(name)]
    if len(fitting) == 1:
        return _noise(fitting[0][1])
    there = ", ".join(row[0] for row in (fitting or rows)[:4])
    raise UsageError(f"{name!r} could be {there}" if fitting else f"no A/A study {name!r}; there are {there}")


def _noise(text: str) -> Noise:
    raw: dict[str, Any] = json.loads(text)
    control = raw["control"]
    return Noise(
        **{
            **raw,
            "parts": [_part(part) for part in raw["parts"]],
            "control": None if control is None else _part(control),
            "outlook": [Outlook(**one) for one in raw["outlook"]],
        }
    )


def _part(raw: dict[str, Any]) -> NoisePart:
    def spread(name: str) -> Spread | None:
        return None if raw[name] is None else Spread(**raw[name])

    host, block, night = (Spread(**raw[name]) for name in ("host", "block", "night"))
    return NoisePart(raw["metric"], raw["level"], host, spread("process"), block, spread("request"), night)
