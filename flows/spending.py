"""What is left of a run's budget, leg by leg."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from config.limits import Budget
from storage.files import RunFiles
from storage.records import CONTROL, Leg, Price
from tasks.load.spec import BudgetSpec
from tasks.stats.cost import costs
from tasks.stats.kinds import kinds


class Spending:
    """Counts requests to the targets, their tokens and their money; the control is free. `clock`: seconds; `before`:
    legs, and rows of halves that were set aside, of earlier tries at the run, which have been paid for too."""

    def __init__(
        self,
        budget: Budget,
        files: RunFiles,
        clock: Callable[[], float] = time.monotonic,
        *,
        before: Iterable[Leg] = (),
        rows_before: int = 0,
        prices: Mapping[str, Price] = MappingProxyType({}),
    ) -> None:
        self._budget = budget
        self._files = files
        self._clock = clock
        self._began = clock()
        self._requests = rows_before
        self._tokens = 0
        self._usd = 0.0
        for leg in before:
            self._began -= leg.duration_s
            self.add(leg, BudgetSpec(prices=dict(prices)))

    def used_up(self) -> str | None:
        """Which limit is reached, in the words of a leg that reaches it; None: there is something left of each."""
        budget = self._budget
        limits = (
            (budget.requests, self._requests, "{:.0f} requests"),
            (budget.output_tokens, self._tokens, "{:.0f} output tokens"),
            (budget.usd, self._usd, "{:g} dollars"),
            (budget.wall_s, self._clock() - self._began, "{:.0f} s of wall time"),
        )
        for limit, used, text in limits:
            if limit is not None and used >= limit:
                return f"budget: {text.format(limit)}"
        return None

    def left(self, spec: BudgetSpec) -> BudgetSpec:
        """What the next leg may spend; ask `used_up` first, for nothing cannot be left."""
        budget = self._budget
        return replace(
            spec,
            requests=None if budget.requests is None else budget.requests - self._requests,
            output_tokens=None if budget.output_tokens is None else budget.output_tokens - self._tokens,
            usd=None if budget.usd is None else budget.usd - self._usd,
            wall_s=None if budget.wall_s is None else budget.wall_s - (self._clock() - self._began),
        )

    def add(self, leg: Leg, spec: BudgetSpec) -> None:
        """What a leg took, told or not: a request without a known price or tokens counts as a request."""
        if leg.target == CONTROL:
            return
        self._requests += leg.rows
        if self._budget.output_tokens is None and self._budget.usd is None:
            return
        for cost in costs(kinds(self._files.samples(leg.leg_id), [leg]), [leg], spec.prices):
            self._tokens += cost.output_tokens
            self._usd += 0.0 if cost.usd is None else cost.usd
