"""What the simulator counts about itself."""

import statistics
from collections import Counter, deque

_KEPT = 65_536  # holds behind p50_hold_ms
_RECENT = 512  # holds behind recent_p50_hold_ms


class Ledger:
    """Counters since the start or the last reset. requests = ok + failed + in flight + queued, always."""

    def __init__(self) -> None:
        self.zero(0)

    def zero(self, under_way: int) -> None:
        """Forget everything but the requests that are still in flight or queued."""
        self.requests = under_way
        self.ok = 0
        self.slowed = 0
        self.own_doing: Counter[str] = Counter()  # right answers that a cache, a fallback or a retry had a part in
        self.failed: Counter[str] = Counter()
        self.holds = 0
        self.held_ns = 0
        self._recent: deque[int] = deque(maxlen=_KEPT)

    def hold(self, hold_ns: int) -> None:
        self.holds += 1
        self.held_ns += hold_ns
        self._recent.append(hold_ns)

    def ended(self, kind: str | None) -> None:
        """A request is over: well (None), or by this kind of failure."""
        if kind is None:
            self.ok += 1
        else:
            self.failed[kind] += 1

    def summary(self, slots: int) -> dict[str, object]:
        """Milliseconds; capacity in requests a second, None where slots are unlimited or nothing was held yet."""
        mean_ns = self.held_ns / self.holds if self.holds else None
        kept = list(self._recent)
        return {
            "requests": self.requests,
            "ok": self.ok,
            "slowed": self.slowed,
            "own_doing": dict(self.own_doing),
            "failed": dict(self.failed),
            "holds": self.holds,
            "mean_hold_ms": None if mean_ns is None else mean_ns / 1e6,
            "p50_hold_ms": _median_ms(kept),
            "recent_p50_hold_ms": _median_ms(kept[-_RECENT:]),
            "slots": slots,
            "capacity_rps": slots * 1e9 / mean_ns if slots and mean_ns else None,
        }


def _median_ms(holds_ns: list[int]) -> float | None:
    return statistics.median(holds_ns) / 1e6 if holds_ns else None
