"""What a run's answers took and what the gateways said of them: costs and gateway facts. As in `storage.results`,
every `put_…` replaces what the run had."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import duckdb

from storage.records import Cost, GatewayFacts, to_json
from storage.rows import FROM_JSON, fill

Con = duckdb.DuckDBPyConnection

PUT_COSTS = "insert into costs " + FROM_JSON
GET_COSTS = """
select leg_id, attempt, target, series, level, model, requests, unknown, input_tokens, cached_tokens, output_tokens,
       usd, wasted_requests, wasted_output_tokens, wasted_usd
from costs where run_id = $run_id order by place
"""
PUT_FACTS = "insert into gateway_facts " + FROM_JSON
FACT_FIELDS = (
    *("attempt", "target", "series", "level", "requests", "ok", "rate_limited", "fallbacks", "retried"),
    *("cache_hits", "other_model"),
)
GET_FACTS = "select record from gateway_facts where run_id = $run_id order by target, series, level, attempt desc"


def put_costs(con: Con, run_id: str, costs: Sequence[Cost]) -> None:
    con.execute("delete from costs where run_id = $run_id", {"run_id": run_id})
    rows = [{"run_id": run_id, "place": place, **to_json(cost)} for place, cost in enumerate(costs)]
    fill(con, PUT_COSTS, "costs", rows)


def get_costs(con: Con, run_id: str) -> list[Cost]:
    """In the order of the legs."""
    return [Cost(*row) for row in con.execute(GET_COSTS, {"run_id": run_id}).fetchall()]


def put_gateway_facts(con: Con, run_id: str, facts: Sequence[GatewayFacts]) -> None:
    con.execute("delete from gateway_facts where run_id = $run_id", {"run_id": run_id})
    fill(con, PUT_FACTS, "gateway_facts", [_row(run_id, to_json(fact)) for fact in facts])


def get_gateway_facts(con: Con, run_id: str) -> list[GatewayFacts]:
    """By target, series and level; the first attempt before the confirm."""
    return [_facts(json.loads(row[0])) for row in con.execute(GET_FACTS, {"run_id": run_id}).fetchall()]


def _row(run_id: str, record: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": run_id, **{name: record[name] for name in FACT_FIELDS}, "record": json.dumps(record)}


def _facts(raw: dict[str, Any]) -> GatewayFacts:
    known = {field.name for field in fields(GatewayFacts)}
    pairs = [(str(asked), str(served), int(n)) for asked, served, n in raw["models"]]
    return GatewayFacts(**{name: value for name, value in raw.items() if name in known} | {"models": pairs})
