"""What is left of a run's budget, leg by leg."""

import time
from dataclasses import replace

import polars as pl

from config.plan import Budget
from storage.files import RunFiles
from storage.records import CONTROL, Leg
from tasks.load.spec import BudgetSpec


class Spending:
    """Counts requests to the targets, their tokens and their money; the control is free."""

    def __init__(self, budget: Budget, files: RunFiles) -> None:
        self._budget = budget
        self._files = files
        self._began = time.monotonic()
        self._requests = 0
        self._tokens = 0
        self._usd = 0.0

    def left(self, spec: BudgetSpec) -> BudgetSpec:
        """What the next leg may spend: never less than one of each, for a leg that may spend nothing is not started."""
        budget = self._budget
        return replace(
            spec,
            requests=None if budget.requests is None else max(1, budget.requests - self._requests),
            output_tokens=None if budget.output_tokens is None else max(1, budget.output_tokens - self._tokens),
            usd=None if budget.usd is None else max(1e-9, budget.usd - self._usd),
            wall_s=None if budget.wall_s is None else max(0.0, budget.wall_s - (time.monotonic() - self._began)),
        )

    def add(self, leg: Leg, spec: BudgetSpec) -> None:
        if leg.target == CONTROL:
            return
        self._requests += leg.rows
        if self._budget.output_tokens is None and self._budget.usd is None:
            return
        rows = self._files.samples().filter(pl.col("leg_id") == leg.leg_id)
        put, got = rows.select(pl.col("input_tokens").sum(), pl.col("output_tokens").sum()).collect().row(0)
        self._tokens += got
        self._usd += (put * spec.input_price + got * spec.output_price) / 1e6
