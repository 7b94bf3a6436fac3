"""When to stop sending: a budget that is used up, or a target that fails too often. Pure; instants are arguments."""

from collections import deque

from storage.records import Failure
from tasks.load.spec import BreakerSpec, BudgetSpec

_NOT_THE_TARGET = frozenset({Failure.CANCELLED, Failure.CENSORED})


class Stopper:
    """`reason` is None until something says stop; then it stays what it was first."""

    def __init__(self, budget: BudgetSpec, breaker: BreakerSpec, t0: int) -> None:
        self._budget = budget
        self._breaker = breaker
        self._deadline = None if budget.wall_s is None else t0 + int(budget.wall_s * 1e9)
        self._window_ns = int(breaker.window_s * 1e9)
        self._recent: deque[tuple[int, bool]] = deque()
        self._failures = 0
        self._sent = 0
        self._tokens = 0
        self._usd = 0.0
        self.reason: str | None = None
        self.detail: str | None = None

    def stop(self, reason: str, detail: str) -> None:
        if self.reason is None:
            self.reason, self.detail = reason, detail

    def sending(self, now: int) -> None:
        """One more request is about to go out."""
        self._sent += 1
        budget = self._budget
        if budget.requests is not None and self._sent >= budget.requests:
            self.stop("budget", f"budget: {budget.requests} requests")
        if self._deadline is not None and now >= self._deadline:
            self.stop("budget", f"budget: {budget.wall_s:.0f} s of wall time")

    def ended(self, now: int, failure: str | None, input_tokens: int | None, output_tokens: int | None) -> None:
        """One request ended."""
        budget = self._budget
        if output_tokens is not None:
            self._tokens += output_tokens
            self._usd += output_tokens * budget.output_price / 1e6
            if budget.output_tokens is not None and self._tokens >= budget.output_tokens:
                self.stop("budget", f"budget: {budget.output_tokens} output tokens")
        if input_tokens is not None:
            self._usd += input_tokens * budget.input_price / 1e6
        if budget.usd is not None and self._usd >= budget.usd:
            self.stop("budget", f"budget: {budget.usd:g} dollars")
        if self._breaker.enabled:
            self._watch(now, failure)

    def _watch(self, now: int, failure: str | None) -> None:
        failed = failure is not None and failure not in _NOT_THE_TARGET
        recent = self._recent
        recent.append((now, failed))
        self._failures += failed
        while recent and recent[0][0] < now - self._window_ns:
            self._failures -= recent.popleft()[1]
        breaker = self._breaker
        if len(recent) >= breaker.min_requests and self._failures > breaker.share * len(recent):
            text = f"{self._failures} of the last {len(recent)} requests failed"
            self.stop("breaker", f"error breaker: {text}")
