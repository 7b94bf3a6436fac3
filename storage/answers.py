"""What a run's answers took and what the gateways said of them: costs and gateway facts. As in `storage.results`,
every `put_…` replaces what the run had."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import duckdb

from storage.records import Cost, GatewayFacts, to_json

Con = duckdb.DuckDBPyConnection

PUT_COST = """
insert into costs (run_id, place, leg_id, attempt, target, series, level, model, requests, unknown, input_tokens,
                   cached_tokens, output_tokens, usd, wasted_requests, wasted_output_tokens, wasted_usd)
values ($run_id, $place, $leg_id, $attempt, $target, $series, $level, $model, $requests, $unknown, $input_tokens,
        $cached_tokens, $output_tokens, $usd, $wasted_requests, $wasted_output_tokens, $wasted_usd)
"""
GET_COSTS = """
select leg_id, attempt, target, series, level, model, requests, unknown, input_tokens, cached_tokens, output_tokens,
       usd, wasted_requests, wasted_output_tokens, wasted_usd
from costs where run_id = $run_id order by place
"""
PUT_FACTS = """
insert into gateway_facts (run_id, attempt, target, series, level, requests, ok, rate_limited, fallbacks, retried,
                           cache_hits, other_model, record)
values ($run_id, $attempt, $target, $series, $level, $requests, $ok, $rate_limited, $fallbacks, $retried,
        $cache_hits, $other_model, $record)
"""
FACT_FIELDS = (
    *("attempt", "target", "series", "level", "requests", "ok", "rate_limited", "fallbacks", "retried"),
    *("cache_hits", "other_model"),
)
GET_FACTS = "select record from gateway_facts where run_id = $run_id order by target, series, level, attempt desc"


def put_costs(con: Con, run_id: str, costs: Sequence[Cost]) -> None:
    con.execute("delete from costs where run_id = $run_id", {"run_id": run_id})
    for place, cost in enumerate(costs):
        con.execute(PUT_COST, {"run_id": run_id, "place": place, **to_json(cost)})


def get_costs(con: Con, run_id: str) -> list[Cost]:
    """In the order of the legs."""
    return [Cost(*row) for row in con.execute(GET_COSTS, {"run_id": run_id}).fetchall()]


def put_gateway_facts(con: Con, run_id: str, facts: Sequence[GatewayFacts]) -> None:
    con.execute("delete from gateway_facts where run_id = $run_id", {"run_id": run_id})
    for fact in facts:
        record = to_json(fact)
        columns = {name: record[name] for name in FACT_FIELDS}
        con.execute(PUT_FACTS, {"run_id": run_id, **columns, "record": json.dumps(record)})


def get_gateway_facts(con: Con, run_id: str) -> list[GatewayFacts]:
    """By target, series and level; the first attempt before the confirm."""
    return [_facts(json.loads(row[0])) for row in con.execute(GET_FACTS, {"run_id": run_id}).fetchall()]


def _facts(raw: dict[str, Any]) -> GatewayFacts:
    known = {field.name for field in fields(GatewayFacts)}
    pairs = [(str(asked), str(served), int(n)) for asked, served, n in raw["models"]]
    return GatewayFacts(**{name: value for name, value in raw.items() if name in known} | {"models": pairs})
