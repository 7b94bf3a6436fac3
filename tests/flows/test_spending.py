"""What is left of a budget, leg by leg."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from config.limits import Budget
from flows.spending import Spending
from storage.files import RunFiles, polars_schema
from storage.records import Price
from tasks.load.spec import BudgetSpec
from tests.fakes.records import leg

PRICED = BudgetSpec(prices={"m": Price(1.0, 10.0)})
LEG = leg(requests=2, leg_id="a")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    found = RunFiles(tmp_path, "r1")
    rows: dict[str, Any] = {
        "leg_id": ["a", "a", "b"],
        "model_asked": ["m", "m", "m"],
        "status": [200, 200, 200],
        "input_tokens": [100, 200, 5000],
        "output_tokens": [10, None, 70],
    }
    frame = pl.concat(
        [pl.DataFrame(schema=polars_schema()), pl.DataFrame(rows, schema_overrides={"status": pl.Int32})],
        how="diagonal",
    )
    for leg_id in ("a", "b"):
        frame.filter(pl.col("leg_id") == leg_id).write_parquet(found.leg_folder(leg_id) / "part-00000.parquet")
    return found


def test_without_a_budget_nothing_is_limited(files):
    spending = Spending(Budget(), files)
    spending.add(LEG, PRICED)
    assert spending.left(PRICED) == PRICED


def test_requests_tokens_and_money_of_a_leg_are_taken_off(files):
    spending = Spending(Budget(requests=10, output_tokens=100, usd=0.01, wall_s=1000), files)
    spending.add(LEG, PRICED)
    left = spending.left(PRICED)
    assert (left.requests, left.output_tokens) == (8, 90)
    assert left.usd == pytest.approx(0.01 - (300 * 1.0 + 10 * 10.0) / 1e6)
    assert left.wall_s is not None
    assert 0 < left.wall_s <= 1000


def test_the_control_is_free(files):
    spending = Spending(Budget(requests=10, output_tokens=100), files)
    spending.add(replace(LEG, target="control"), PRICED)
    assert (spending.left(PRICED).requests, spending.left(PRICED).output_tokens) == (10, 100)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(requests=2), "budget: 2 requests"),
        (Budget(output_tokens=10), "budget: 10 output tokens"),
        (Budget(usd=0.00039), "budget: 0.00039 dollars"),
        (Budget(requests=3, output_tokens=11, usd=0.00041), None),
    ],
)
def test_a_limit_that_is_reached_is_named(files, budget, said):
    spending = Spending(budget, files)
    assert spending.used_up() is None
    spending.add(LEG, PRICED)
    assert spending.used_up() == said


def test_time_passes_between_the_legs_too(files):
    now = [100.0]
    spending = Spending(Budget(wall_s=60), files, clock=lambda: now[0])
    now[0] += 59
    assert (spending.used_up(), spending.left(PRICED).wall_s) == (None, 1)
    now[0] += 1
    assert spending.used_up() == "budget: 60 s of wall time"
