"""When to stop sending: a budget that is used up, or a target that fails too often. Pure; instants are arguments."""

from collections import deque

from storage.records import Failure, Sample, price_of
from tasks.load.spec import BreakerSpec, BudgetSpec

_NOT_THE_TARGET = frozenset({Failure.CANCELLED, Failure.CENSORED})
_LOOKED_AT = 20  # answers, before a budget of tokens or dollars is given up as one that cannot be counted


class Stopper:
    """`reason` is None until something says stop; then it stays what it was first.

    `deadline_ns`: the instant at which the wall time is used up, None without such a limit. A loop that may wait for
    longer than that calls `tick` then, for a target that hangs calls neither `sending` nor `ended`.
    """

    def __init__(self, budget: BudgetSpec, breaker: BreakerSpec, t0: int) -> None:
        self._budget = budget
        self._breaker = breaker
        self.deadline_ns = None if budget.wall_s is None else t0 + int(budget.wall_s * 1e9)
        self._window_ns = int(breaker.window_s * 1e9)
        self._recent: deque[tuple[int, bool]] = deque()
        self._failures = 0
        self._sent = 0
        self._tokens = 0
        self._usd = 0.0
        self._answers = self._untold = 0
        self.reason: str | None = None
        self.detail: str | None = None

    def stop(self, reason: str, detail: str) -> None:
        if self.reason is None:
            self.reason, self.detail = reason, detail

    def tick(self, now: int) -> None:
        """Time has passed, whatever else has happened."""
        if self.deadline_ns is not None and now >= self.deadline_ns:
            self.stop("budget", f"budget: {self._budget.wall_s:.0f} s of wall time")

    def sending(self, now: int) -> None:
        """One more request is about to go out."""
        self._sent += 1
        budget = self._budget
        if budget.requests is not None and self._sent >= budget.requests:
            self.stop("budget", f"budget: {budget.requests} requests")
        if self.deadline_ns is not None:
            self.tick(now)

    def ended(self, now: int, sample: Sample) -> None:
        """One request ended."""
        budget = self._budget
        if budget.output_tokens is not None and sample.output_tokens is not None:
            self._tokens += sample.output_tokens
            if self._tokens >= budget.output_tokens:
                self.stop("budget", f"budget: {budget.output_tokens} output tokens")
        if budget.usd is not None:
            self._pay(sample, budget.usd)
        if sample.failure is None and (budget.output_tokens is not None or budget.usd is not None):
            self._trust(sample)
        if self._breaker.enabled:
            self._watch(now, sample.failure)

    def _pay(self, sample: Sample, usd: float) -> None:
        price = price_of(self._budget.prices, sample.model_served, sample.model_asked)
        if price is not None:
            accepted = sample.status is not None and 200 <= sample.status < 300
            self._usd += price.usd(accepted, sample.input_tokens, sample.cached_tokens, sample.output_tokens)
        if self._usd >= usd:
            self.stop("budget", f"budget: {usd:g} dollars")

    def _trust(self, sample: Sample) -> None:
        """A budget of tokens or dollars is blind where answers do not tell their tokens; a blind budget stops too."""
        self._answers += 1
        self._untold += sample.output_tokens is None and self._counts(sample)
        if self._answers >= _LOOKED_AT and 2 * self._untold > self._answers:
            kind = "output tokens" if self._budget.output_tokens is not None else "dollars"
            text = f"{self._untold} of {self._answers} answers did not tell their tokens, so {kind} cannot be counted"
            self.stop("budget", f"budget: {text}; set a budget of requests instead")

    def _counts(self, sample: Sample) -> bool:
        """Whether the budget is about this answer's tokens."""
        if self._budget.output_tokens is not None:
            return True
        price = price_of(self._budget.prices, sample.model_served, sample.model_asked)
        return price is not None and price.output > 0

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
