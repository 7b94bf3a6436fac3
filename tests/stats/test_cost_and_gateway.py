"""Rows -> what they took and what the gateway did with them, against sums done by hand."""

import random
from typing import Any

import polars as pl
import pytest

from storage.files import polars_schema
from storage.records import Failure, Leg, Price, price_of
from tasks.stats.cost import costs, dollars
from tasks.stats.gateway import gateway_facts, same_model
from tasks.stats.kinds import kinds
from tests.fakes import records


def leg(leg_id: str, target: str = "gw", series: str = "sweep", level: int = 1) -> Leg:
    return records.leg(requests=2, leg_id=leg_id, target=target, series=series, level=level)


def row(leg_id: str = "a", **changes: Any) -> dict[str, Any]:
    said = {
        "leg_id": leg_id,
        "phase": "measured",
        "stream": True,
        "status": 200,
        "finish_reason": "stop",
        "model_asked": "m",
        "model_served": "m",
        "input_tokens": 100,
        "output_tokens": 10,
    }
    return said | changes


def frame(*rows: dict[str, Any]) -> pl.LazyFrame:
    schema = polars_schema()
    return pl.LazyFrame([{name: one.get(name) for name in schema} for one in rows], schema=schema, orient="row")


REFUSED = {"status": 429, "failure": "rate_limited", "model_served": None, "input_tokens": None, "output_tokens": None}
CUT = {"failure": "closed_early", "input_tokens": None, "output_tokens": None}


def test_tokens_and_dollars_are_summed_a_leg_and_a_model():
    rows = frame(row(), row(), row(model_served="n"), row("b", phase="warmup"))
    legs = [leg("b", level=8), leg("a")]
    found = costs(kinds(rows, legs), legs, {"m": Price(1.0, 10.0), "n": Price(2.0)})
    assert [(c.leg_id, c.level, c.model, c.requests) for c in found] == [
        ("b", 8, "m", 1),
        ("a", 1, "m", 2),
        ("a", 1, "n", 1),
    ]
    assert [c.usd for c in found] == pytest.approx([200e-6, 400e-6, 200e-6])
    assert dollars(found) == pytest.approx(800e-6)


def test_the_sum_over_kinds_is_the_sum_over_requests():
    rng = random.Random(7)
    prices = {"m": Price(1.5, 6.0, cached_input=0.5, request=0.001), "*": Price(3.0, 9.0)}
    rows = [
        row(
            rng.choice("ab"),
            status=rng.choice([200, 200, 429, None]),
            failure=rng.choice([None, None, "reset"]),
            model_served=rng.choice(["m", "x", None]),
            input_tokens=rng.choice([None, 5, 100]),
            cached_tokens=rng.choice([None, 0, 7]),
            output_tokens=rng.choice([None, 0, 30]),
        )
        for _ in range(500)
    ]
    legs = [leg("a"), leg("b")]
    slow = 0.0
    for one in rows:
        price = price_of(prices, one["model_served"], one["model_asked"])
        assert price is not None
        accepted = one["status"] == 200
        slow += price.usd(accepted, one["input_tokens"], one["cached_tokens"], one["output_tokens"])
    assert dollars(costs(kinds(frame(*rows), legs), legs, prices)) == pytest.approx(slow)


def test_answers_without_usage_are_counted_apart_and_refused_requests_are_not():
    never_there = [row(**REFUSED), row(status=None, failure="connect", input_tokens=None, output_tokens=None)]
    rows = frame(row(), row(input_tokens=None, output_tokens=None), row(**CUT), *never_there)
    (found,) = costs(kinds(rows, [leg("a")]), [leg("a")], {"m": Price(1.0)})
    assert (found.requests, found.unknown) == (5, 2)


def test_a_failed_request_that_had_tokens_is_wasted_money():
    rows = frame(row(), row(failure="truncated"), row(**CUT))
    (found,) = costs(kinds(rows, [leg("a")]), [leg("a")], {"m": Price(1.0, 10.0)})
    assert (found.wasted_requests, found.wasted_output_tokens) == (1, 10)
    assert (found.usd, found.wasted_usd) == pytest.approx((400e-6, 200e-6))


def test_cached_input_is_part_of_the_input_and_never_more():
    rows = frame(row(cached_tokens=40), row(cached_tokens=500), row())
    (found,) = costs(kinds(rows, [leg("a")]), [leg("a")], {"m": Price(1.0, 0.0, cached_input=0.0)})
    assert (found.input_tokens, found.cached_tokens) == (300, 140)
    assert found.usd == pytest.approx(160e-6)


def test_without_a_price_there_are_no_dollars_but_tokens():
    (found,) = costs(kinds(frame(row()), [leg("a")]), [leg("a")], {})
    assert (found.usd, found.wasted_usd, found.output_tokens) == (None, None, 10)


def test_the_control_and_the_calibration_cost_nothing_and_say_nothing():
    legs = [leg("a", target="control"), leg("b", series="calibration")]
    rows = kinds(frame(row("a"), row("b")), legs)
    assert (rows.height, costs(rows, legs, {}), gateway_facts(rows, legs)) == (0, [], [])


def test_refusals_say_when_to_come_back():
    rows = frame(row(), row(**REFUSED, retry_after_s=1.0), row(**REFUSED, retry_after_s=3.0), row(**REFUSED))
    (found,) = gateway_facts(kinds(rows, [leg("a")]), [leg("a")])
    assert (found.requests, found.ok, found.rate_limited, found.retry_after_known) == (4, 1, 3, 2)
    assert (found.retry_after_p50_s, found.retry_after_max_s) == (1.0, 3.0)
    assert (found.statuses, found.failures) == ({"429": 3, "200": 1}, {"rate_limited": 3})


def test_what_the_gateway_did_is_counted_over_the_answers_that_are_ok():
    rows = frame(
        row(cache_hit=True),
        row(cache_hit=False, fallbacks=0, attempts=0),
        row(fallbacks=1, model_served="other"),
        row(attempts=2, finish_reason="length"),
        row(cache_hit=True, fallbacks=1, attempts=1, failure="truncated", finish_reason=None),
    )
    (found,) = gateway_facts(kinds(rows, [leg("a")]), [leg("a")])
    assert (found.cache_hits, found.cache_known) == (1, 2)
    assert (found.fallbacks, found.fallbacks_known) == (1, 2)
    assert (found.retried, found.retried_known) == (1, 2)
    assert found.finish_reasons == {"stop": 3, "length": 1}
    assert (found.other_model, found.models_known) == (1, 4)
    assert found.models == [("m", "m", 3), ("m", "other", 1)]


def test_a_level_is_all_its_blocks_and_only_what_was_measured():
    legs = [leg("a"), leg("b"), leg("c", level=8)]
    rows = frame(row("a"), row("b"), row("b", phase="warmup"), row("c", stream=False))
    assert [(f.level, f.requests, f.streamed) for f in gateway_facts(kinds(rows, legs), legs)] == [(1, 2, 2), (8, 1, 0)]


@pytest.mark.parametrize(
    ("asked", "served", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("claude-3", "claude-3-5", False),
        ("llama3:latest", "llama3", True),
        ("M", "m", True),
    ],
)
def test_an_edition_of_a_model_is_that_model_and_another_edition_is_not(asked, served, same):
    assert same_model(asked, served) is same


def test_every_kind_of_failure_that_never_got_there_costs_nothing():
    there = {Failure.DNS, Failure.CONNECT, Failure.LOCAL, Failure.TLS, Failure.TIMEOUT_CONNECT}
    blank = {"status": None, "model_served": None, "input_tokens": None, "output_tokens": None}
    for failure in Failure:
        rows = kinds(frame(row(failure=failure.value, **blank)), [leg("a")])
        assert rows["unknown"].sum() == (failure not in there)


def test_streams_that_told_no_usage_are_counted() -> None:
    seen = {"first_token_ns": 5, "chunk_gaps_us": [1]}
    rows = [row(**seen), *([row(**seen, output_tokens=None)] * 3), row(stream=False, output_tokens=None)]
    assert gateway_facts(kinds(frame(*rows), [leg("a")]), [leg("a")])[0].counted == 3
