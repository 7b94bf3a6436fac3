import numpy as np
import polars as pl
import pytest

from storage.records import Verdict
from tasks.stats.gate import judge

SCHEMA = {
    "night": pl.Int64, "target": pl.String, "series": pl.String, "level": pl.Int64, "metric": pl.String,
    "value": pl.Float64, "n": pl.Int64,
}  # fmt: skip


def failures(k: int, *counts: int, n: int = 1000) -> pl.DataFrame:
    rows = [(k, "gw", "sweep", level, "errors", float(c), n) for level, c in zip((1, 10, 50, 100), counts, strict=True)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def past(rate: float, nights: int = 30, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.concat([failures(k, *rng.binomial(1000, rate, 4).tolist()) for k in range(nights)])


def at(verdicts: list[Verdict], level: int) -> Verdict:
    return next(v for v in verdicts if v.level == level)


def test_five_times_the_usual_errors_seen_twice_is_regressed() -> None:
    tonight = failures(30, 10, 10, 10, 50)
    found = judge(past(0.01), tonight, confirm=tonight)
    assert at(found, 100).verdict == "regressed"
    assert at(found, 100).effect == pytest.approx(4.0, abs=0.6)
    assert at(found, 1).verdict == "unchanged"


def test_five_times_the_usual_errors_seen_once_is_a_candidate() -> None:
    found = at(judge(past(0.01), failures(30, 10, 10, 10, 50)), 100)
    assert (found.verdict, found.reason) == ("inconclusive", "candidate")


def test_errors_not_seen_again_are_unchanged() -> None:
    found = judge(past(0.01), failures(30, 10, 10, 10, 50), confirm=failures(30, 10, 10, 10, 10))
    assert (at(found, 100).verdict, at(found, 100).reason) == ("unchanged", "not confirmed")


def test_a_clean_history_has_no_ratio_but_still_sees_an_outage() -> None:
    outage = failures(30, 0, 0, 0, 400)
    found = judge(past(0.0), outage, confirm=outage)
    assert (at(found, 100).verdict, at(found, 100).effect) == ("regressed", None)


def test_fewer_errors_than_usual_are_unchanged() -> None:
    assert at(judge(past(0.05), failures(30, 0, 0, 0, 0)), 10).verdict == "unchanged"


def test_two_nights_cannot_tell() -> None:
    assert at(judge(past(0.01, nights=2), failures(2, 10, 10, 10, 500)), 100).verdict == "inconclusive"


def test_a_value_that_is_missing_is_no_data() -> None:
    tonight = failures(30, 1, 1, 1, 1).with_columns(value=pl.lit(None, dtype=pl.Float64))
    assert {v.reason for v in judge(past(0.01), tonight)} == {"no data tonight"}


def test_false_alarms_on_errors_are_rare() -> None:
    rng = np.random.default_rng(7)
    history = past(0.01)
    nights = 300
    alarms = sum(
        any(v.reason == "candidate" for v in judge(history, failures(30, *rng.binomial(1000, 0.01, 4).tolist())))
        for _ in range(nights)
    )
    assert alarms / nights <= 0.01 + 2 * np.sqrt(0.01 * 0.99 / nights)
