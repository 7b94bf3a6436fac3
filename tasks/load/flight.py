"""What is in flight: a request is sent, and when it has ended it is booked as one row.

An answer's end is noted in the socket's callback and acted on a moment later, all that ended together at once: first
the loop sends every next request, then what ended is booked, so that neither a stamp nor a send waits for bookkeeping.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Protocol

from storage.records import STRESS, Failure, Phase, Sample
from tasks.load.client import Asked, to_sample, watch
from tasks.load.exchange import Exchange, Origin
from tasks.load.limits import Stopper
from tasks.load.requests import Prepared


class Sender(Protocol):
    """Sends a prepared request now and returns its exchange at once."""

    def start(self, origin: Origin, payload: bytes, *, on_end: Callable[[Exchange], None]) -> Exchange: ...
    def settle(self, exchange: Exchange) -> None: ...


class Maker(Protocol):
    origin: Origin

    def make(self, seq: int, index: int) -> Prepared: ...


class Keeper(Protocol):
    def add(self, sample: Sample) -> None: ...


class Loop(Protocol):
    """Who sends, and is told what has become of it."""

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """These have ended, and are not yet booked."""

    def booked(self) -> None:
        """Those are booked. Not called where that failed."""

    def look(self) -> None:
        """Something has changed: what is in flight, or whether to go on."""

    def time_is_up(self) -> None:
        """The budget's wall time is used up."""


@dataclass(slots=True)
class Tally:
    """What was counted; the rest is in the rows."""

    t0: int
    measured: int = 0
    ok: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    lags_ns: list[int] = field(default_factory=list)
    cycle_ns: int = 0  # end − intended, summed over measured requests
    dropped: int = 0
    queued: int = 0  # sent late because max_in_flight was reached: the plan's doing, not ours
    first_sent_ns: int = 0
    last_sent_ns: int = 0
    last_end_ns: int = 0
    target_headers: dict[str, str] = field(default_factory=dict)


_ASKED_FOR_HEADERS = 100  # answers looked at for what the target says of itself
_HEADERS_KEPT = (
    "server",
    "via",
    "x-litellm-version",
    "x-powered-by",
    "x-envoy-upstream-service-time",
    "x-portkey-provider",
)


class Flight:
    """Sends, notes, books. `loop` is set before anything is sent."""

    def __init__(
        self,
        sender: Sender,
        maker: Maker,
        keeper: Keeper,
        stopper: Stopper,
        *,
        label: str = "main",
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._sender = sender
        self._keeper = keeper
        self._label = label
        self._ended_now: list[Exchange] = []  # ended, not yet acted on
        self._timer: asyncio.TimerHandle | None = None
        self.maker = maker
        self.stopper = stopper
        self.clock = clock
        self.in_flight: set[Exchange] = set()
        self.loop: Loop | None = None
        self.error: Exception | None = None  # in a callback, which can raise to nobody: the loop is to raise it
        self.tally = Tally(clock())

    def send(
        self,
        prepared: Prepared,
        seq: int,
        phase: Phase,
        intended: int,
        *,
        late_by_plan: bool = False,
        label: str | None = None,
    ) -> Exchange:
        exchange = self._sender.start(self.maker.origin, prepared.payload, on_end=self._note)
        sent = exchange.started_ns
        self.stopper.sending(sent)
        stream_label = self._label if label is None else label
        exchange.asked = Asked(seq, phase, stream_label, intended, prepared.model, prepared.stream)
        self.in_flight.add(exchange)
        if prepared.stream:
            exchange.on_headers = _watch
        if phase == Phase.MEASURED:
            tally = self.tally
            if not late_by_plan:
                tally.lags_ns.append(max(0, sent - intended))
            if not tally.first_sent_ns:
                tally.first_sent_ns = sent
            tally.last_sent_ns = sent
        return exchange

    def give_up(self, failure: Failure) -> None:
        """End everything in flight now, and wake whoever waits for room."""
        for exchange in list(self.in_flight):
            exchange.abort(failure)
        if self.loop is not None:
            self.loop.look()

    def watch_time(self) -> None:
        """A target that hangs must not outlast the wall time of the budget."""
        deadline, now = self.stopper.deadline_ns, self.clock()
        if deadline is None or self.stopper.reason is not None:
            return
        if now < deadline:
            self._timer = asyncio.get_running_loop().call_later((deadline - now) / 1e9, self.watch_time)
            return
        self.stopper.tick(now)
        if self.loop is not None:
            self.loop.time_is_up()

    def forget_time(self) -> None:
        """All that was to be sent has been: time that runs out now stops nothing."""
        if self._timer is not None:
            self._timer.cancel()

    def _note(self, exchange: Exchange) -> None:
        """An exchange has ended; we are in the socket's callback."""
        if not self._ended_now:
            asyncio.get_running_loop().call_soon(self._act)
        self._ended_now.append(exchange)

    def _act(self) -> None:
        ended, self._ended_now = self._ended_now, []
        loop = self.loop
        assert loop is not None
        try:
            loop.ended(ended)
            for exchange in ended:
                self._book(exchange)
            loop.booked()
        except Exception as error:
            self.error = error
            self.stopper.stop("error", str(error))
        loop.look()

    def _book(self, exchange: Exchange) -> None:
        asked, tokens = exchange.asked, exchange.tokens
        self.in_flight.remove(exchange)
        self._sender.settle(exchange)
        sample = to_sample(exchange, tokens, asked, self.tally.t0)
        self.stopper.ended(exchange.end_ns, sample)
        if asked.phase == Phase.MEASURED and asked.stream_label != STRESS:
            self._count(exchange, sample)
        self._keeper.add(sample)

    def _count(self, exchange: Exchange, sample: Sample) -> None:
        tally = self.tally
        tally.measured += 1
        tally.cycle_ns += sample.end_ns - sample.intended_ns
        tally.last_end_ns = max(tally.last_end_ns, exchange.end_ns)
        if sample.failure is None:
            tally.ok += 1
        else:
            tally.failed[sample.failure] = tally.failed.get(sample.failure, 0) + 1
        if tally.measured <= _ASKED_FOR_HEADERS and not tally.target_headers:
            for name in _HEADERS_KEPT:
                value = exchange.header(name.encode())
                if value is not None:
                    tally.target_headers[name] = value[:200]


def _watch(exchange: Exchange) -> None:
    exchange.tokens = watch(exchange, exchange.asked.stream)
