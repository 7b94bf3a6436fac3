"""The sustainable rates that a run found. As in `storage.results`, `put_…` replaces what the run had."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import duckdb

from storage.records import Estimate, RateProbe, Slo, Sustained, to_json

Con = duckdb.DuckDBPyConnection

PUT = """
insert into sustained (run_id, place, target, rate_rps, reached, limited_by, record)
values ($run_id, $place, $target, $rate_rps, $reached, $limited_by, $record)
"""
GET = "select record from sustained where run_id = $run_id order by place"


def put_sustained(con: Con, run_id: str, found: Sequence[Sustained]) -> None:
    con.execute("delete from sustained where run_id = $run_id", {"run_id": run_id})
    for place, one in enumerate(found):
        row = {name: getattr(one, name) for name in ("target", "reached", "limited_by")}
        row["rate_rps"] = None if one.rate_rps is None else one.rate_rps.point
        con.execute(PUT, {"run_id": run_id, "place": place, **row, "record": json.dumps(to_json(one))})


def get_sustained(con: Con, run_id: str) -> list[Sustained]:
    """In the order of the targets."""
    return [_record(json.loads(row[0])) for row in con.execute(GET, {"run_id": run_id}).fetchall()]


def _record(raw: dict[str, Any]) -> Sustained:
    rate = raw["rate_rps"]
    inner = {
        "rate_rps": None if rate is None else Estimate(**_known(Estimate, rate)),
        "objectives": [Slo(**_known(Slo, one)) for one in raw.get("objectives", [])],
        "probes": [RateProbe(**_known(RateProbe, one)) for one in raw["probes"]],
    }
    return Sustained(**_known(Sustained, raw) | inner)


def _known(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}
