"""Was a rate kept up with, and what did not hold?"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from storage.records import Cell, Estimate, Leg, RateProbe, Slo
from tasks.stats.weigh import Limits, probes, weigh
from tests.fakes import records
from tests.fakes.queue import Server, starts
from tests.fakes.records import QUIET

HEALTH = replace(QUIET, offered_rps=100.0, achieved_rps=100.0)
QUICK = Slo("p95(latency) < 100ms", "p95", "latency", 0.1, None)
TOKENS = Slo("p95(ttft) < 100ms", "p95", "ttft", 0.1, None)
CLEAN = Slo("rate(errors) < 0.1%", "rate", "errors", 0.001, None)
AT_LEVEL = Slo("p95(latency){level=10} < 1ms", "p95", "latency", 0.001, 10)


def leg(step: int = 1, **changes: Any) -> Leg:
    facts = {"leg_id": f"l{step}", "attempt": "probe", "series": "load", "level": step, "loop": "open"}
    return records.leg(requests=1000, **{**facts, "health": HEALTH, **changes})


def rows(load: float, failed: dict[str, int] | None = None) -> pl.DataFrame:
    """10 s of 100 a second against a server that can do 100 / `load`; the first few fail, each kind so often."""
    due = starts(np.random.default_rng(1), 100.0, 10.0)
    answers = Server(8, 0.08 * load).answers(np.random.default_rng(2), due)
    kinds: list[str | None] = [kind for kind, n in (failed or {}).items() for _ in range(n)]
    intended = (due * 1e9).astype(np.int64)
    return pl.DataFrame(
        {
            "phase": ["measured"] * len(due),
            "leg_id": ["l1"] * len(due),
            "intended_ns": intended,
            "end_ns": intended + (answers * 1e9).astype(np.int64),
            "failure": pl.Series([*kinds, *[None] * (len(due) - len(kinds))], dtype=pl.String),
        }
    )


def found(frame: pl.DataFrame, *slos: Slo, p95_s: float = 0.05, **changes: Any) -> RateProbe:
    estimates = {"response_p95": Estimate(p95_s, None, None, 1000, 1), "latency_p95": Estimate(9.0, None, None, 1, 1)}
    return weigh(frame, leg(**changes), estimates, slos, Limits())


def test_what_is_due_is_finished() -> None:
    kept = found(rows(0.9))
    assert (kept.sustained, kept.limit, kept.why) == (True, "none", "kept up")
    assert (kept.rate_rps, kept.achieved_rps, kept.errors, kept.n) == (100.0, pytest.approx(100.0), 0.0, 1000)
    assert kept.latency_p95_s == pytest.approx(0.072)


def test_a_target_that_falls_behind_is_said_to_finish_what_it_can() -> None:
    lost = found(rows(1.25))
    assert (lost.sustained, lost.limit) == (False, "capacity")
    assert lost.achieved_rps == pytest.approx(80.0, rel=0.01)
    assert lost.why == "fell behind: 80.0% of it was finished"


def test_a_backlog_that_grows_by_one_per_cent_is_seen_where_there_is_no_noise() -> None:
    assert (found(rows(1.012)).sustained, found(rows(1.002)).sustained) == (False, True)


@pytest.mark.parametrize(
    ("failed", "limit"),
    [
        ({"http_5xx": 11}, "errors"),
        ({"http_5xx": 9}, "none"),
        ({"rate_limited": 11}, "quota"),
        ({"rate_limited": 11, "http_5xx": 30}, "quota"),
        ({"timeout_total": 11}, "errors"),
        ({"timeout_total": 6, "http_5xx": 6}, "errors"),
    ],
)
def test_more_than_one_failure_in_a_hundred_is_too_many(failed: dict[str, int], limit: str) -> None:
    assert found(rows(0.9, failed)).limit == limit


def test_an_objective_says_how_many_failures_are_allowed() -> None:
    assert found(rows(0.9, {"http_5xx": 2}), CLEAN).limit == "errors"
    generous = Slo("rate(errors) < 10%", "rate", "errors", 0.1, None)
    assert found(rows(0.9, {"http_5xx": 50}), generous).limit == "none"


def test_an_objective_on_latency_counts_from_when_a_request_was_due() -> None:
    lost = found(rows(0.9), QUICK, p95_s=0.2)
    assert (lost.sustained, lost.limit, lost.why) == (False, "slo", "p95(latency) < 100ms: measured 200 ms")
    assert found(rows(0.9), QUICK, p95_s=0.09).sustained
    assert found(rows(0.9), AT_LEVEL, p95_s=0.09).sustained  # a level's objective is no rate's


def test_no_data_keeps_no_objective() -> None:
    assert found(rows(0.9), TOKENS).why == "p95(ttft) < 100ms: nothing to judge it by"


def test_falling_behind_is_named_before_the_objective_it_breaks() -> None:
    assert found(rows(1.25), QUICK, p95_s=2.0).limit == "capacity"


def test_failures_that_are_over_at_once_do_not_make_a_backlog_look_smaller() -> None:
    late = rows(1.25).with_columns(
        end_ns=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.col("intended_ns") + 1).otherwise("end_ns"),
        failure=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("http_5xx")),
    )
    lost = found(late)
    assert lost.limit == "errors"
    assert lost.achieved_rps == pytest.approx(80.0, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "sustained", "limit"),
    [
        ({"validity": "invalid", "reasons": ["generator: requests left late"]}, None, "generator"),
        ({"validity": "suspect", "reasons": ["generator: its CPU was busy"]}, True, "none"),
        ({"validity": "invalid", "stopped": "budget", "reasons": ["budget: 5 requests"]}, None, "budget"),
        ({"validity": "invalid", "stopped": "max_in_flight", "reasons": ["1000 in flight"]}, False, "capacity"),
        ({"validity": "invalid", "stopped": "breaker", "reasons": ["error breaker"]}, False, "errors"),
    ],
)
def test_how_a_leg_ended_says_whether_it_was_the_target(
    changes: dict[str, Any], sustained: bool | None, limit: str
) -> None:
    one = found(rows(0.9), **changes)
    assert (one.sustained, one.limit) == (sustained, limit)


def test_a_leg_without_rows_says_nothing() -> None:
    one = found(rows(0.9).clear())
    assert (one.sustained, one.limit, one.latency_p95_s) == (None, "generator", None)


def test_a_dozen_answers_are_too_few_to_tell() -> None:
    assert found(rows(0.9).head(12)).why == "too few answers to tell whether it kept up"


def test_each_leg_is_weighed_by_its_own_rows_and_estimates_in_the_order_of_its_steps() -> None:
    warm = rows(1.25).with_columns(phase=pl.lit("warmup"))
    both = pl.concat([warm, rows(1.25).with_columns(leg_id=pl.lit("l2")), rows(0.9)])
    slow = Cell("probe", "gw", "load", 1, "response_p95", Estimate(0.2, None, None, 1000, 1))
    one, two = probes(both.lazy(), [leg(2), leg(1)], [slow], [QUICK], Limits())
    assert [(p.step, p.limit, p.n) for p in (one, two)] == [(1, "slo", 1000), (2, "capacity", 1000)]
