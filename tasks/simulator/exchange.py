"""One request on its way through the gate: what it holds, when, and what the client gets to see."""

from abc import ABC, abstractmethod
from time import perf_counter_ns
from typing import Protocol

from tasks.simulator.ask import Ask
from tasks.simulator.gate import Gate, Place
from tasks.simulator.ledger import Ledger
from tasks.simulator.model import Fault, FaultKind, SimConfig
from tasks.simulator.timers import Timers
from tasks.simulator.wording import BROKEN_BODY, BROKEN_EVENT, Frames, Reply, completion, error_body, whole

FIRST_TOKEN_SHARE = 0.3  # of the hold, where a configuration gives no first_token_ms
_MID_STREAM = frozenset(
    {FaultKind.HALF_STREAM, FaultKind.STALL, FaultKind.BAD_JSON, FaultKind.TRUNCATED, FaultKind.ERROR_FRAME}
)


class Line(Protocol):
    """The connection an exchange answers on."""

    exchange: "Exchange | None"

    def write(self, data: bytes) -> None: ...

    def over(self, *, close: bool) -> None:
        """The answer is complete; the next request may come, unless the connection is to be closed."""

    def reset(self) -> None:
        """Cut the connection off with a reset (RST); nothing more is written."""


class Desk(Protocol):
    """What all exchanges of a simulator share."""

    config: SimConfig
    gate: Gate
    timers: Timers
    ledger: Ledger


def hold_ns(config: SimConfig, ask: Ask, scale: float) -> tuple[int, int]:
    """(first token, whole hold) in ns from the taking of the slot; `scale` is the product of draw and slow factors."""
    if ask.stream and config.first_token_ms is not None and config.per_token_ms is not None:
        first_ms = config.first_token_ms
        hold_ms = first_ms + config.per_token_ms * (ask.tokens - 1)
    else:
        hold_ms = config.service_ms
        first_ms = hold_ms * FIRST_TOKEN_SHARE
    return round(first_ms * scale * 1e6), round(hold_ms * scale * 1e6)


class Exchange(ABC):
    """A request that takes a slot. Subclasses say what happens while it is held."""

    __slots__ = ("ask", "desk", "fault", "first_ns", "hold_ns", "line", "place", "reply", "scale", "take_ns")

    def __init__(self, desk: Desk, line: Line, ask: Ask, reply: Reply, *, scale: float, fault: Fault | None) -> None:
        self.desk, self.line, self.ask, self.reply = desk, line, ask, reply
        self.scale, self.fault = scale, fault
        self.place = Place.OUTSIDE
        self.take_ns = self.first_ns = self.hold_ns = 0

    def begin(self) -> None:
        """The slot was taken at take_ns; live changes of the configuration count from here."""
        config = self.desk.config
        self.first_ns, self.hold_ns = hold_ns(config, self.ask, self.scale * config.slow_factor)
        self.step()

    @abstractmethod
    def step(self) -> None:
        """Do what is due and ask to be called again for what is not; nothing if the slot is no longer held."""

    def wait(self, offset_ns: int) -> None:
        """Step again at this offset from the taking of the slot, so that lateness does not add up."""
        self.desk.timers.at(self.take_ns + offset_ns, self.step)

    def abandon(self) -> None:
        """The client is gone: slot or place in the queue is free."""
        stalled = self.fault is not None and self.fault.kind is FaultKind.STALL
        self.desk.gate.leave(self, served=False)
        self.desk.ledger.ended("stall" if stalled else "disconnected")

    def finish(self, data: bytes, *, close: bool = False) -> None:
        """The last bytes of the answer; then the slot is free."""
        if data:
            self.line.write(data)
        self.desk.gate.leave(self)
        self.desk.ledger.ended(None if self.fault is None else self.fault.kind.value)
        self.line.over(close=close or not self.reply.keep_alive)


class Plain(Exchange):
    """Held, then answered in one piece."""

    __slots__ = ()

    def step(self) -> None:
        if self.place is not Place.HOLDING:
            return
        due_ns = self.hold_ns
        if self.fault is not None and self.fault.kind is FaultKind.STALL:
            if self.fault.stall_s is None:
                return
            due_ns += round(self.fault.stall_s * 1e9)
        if due_ns and perf_counter_ns() - self.take_ns < due_ns:
            self.wait(due_ns)
            return
        if self.fault is None:
            self.finish(whole(self.reply, 200, completion(self.reply, self.ask, self.ask.tokens)))
        else:
            self._answer_wrong(self.fault.kind)

    def _answer_wrong(self, kind: FaultKind) -> None:
        right = completion(self.reply, self.ask, 0 if kind is FaultKind.EMPTY else self.ask.tokens)
        half = right[: len(right) // 2]
        if kind is FaultKind.HALF_STREAM:
            self.finish(whole(self.reply, 200, half, length=len(right)), close=True)
            return
        body = right
        if kind is FaultKind.TRUNCATED:
            body = half
        elif kind is FaultKind.BAD_JSON:
            body = BROKEN_BODY
        elif kind is FaultKind.ERROR_FRAME:
            body = error_body(500, "the upstream broke off", "upstream_error")
        self.finish(whole(self.reply, 200, body))


class Stream(Exchange):
    """Tokens one by one, the last of them at the end of the hold (a single one at first_ns)."""

    __slots__ = ("frames", "mid_fault", "sent", "stalled_ns", "tokens")

    def begin(self) -> None:
        kind = None if self.fault is None else self.fault.kind
        self.frames = Frames(self.reply, self.ask)
        self.tokens = 0 if kind is FaultKind.EMPTY else self.ask.tokens
        self.mid_fault = kind if kind in _MID_STREAM else None  # None again once it struck
        self.sent = self.stalled_ns = 0
        self.line.write(self.frames.opening())
        Exchange.begin(self)

    def step(self) -> None:
        if self.place is not Place.HOLDING:
            return
        elapsed_ns = perf_counter_ns() - self.take_ns - self.stalled_ns
        due = tokens_due(elapsed_ns, self.tokens, self.first_ns, self.hold_ns)
        half = self.tokens // 2
        struck = self.mid_fault if due > half else None
        if struck is not None:
            due = half
        out = self.frames.tokens(self.sent, due)
        self.sent = due
        if struck is not None:
            self._strike(struck, out)
        elif due == self.tokens and elapsed_ns >= self.hold_ns:
            self.finish(out + self.frames.closing(self.tokens))
        else:
            if out:
                self.line.write(out)
            self._wait_for_next()

    def _wait_for_next(self) -> None:
        if self.sent < self.tokens:
            offset_ns = token_ns(self.sent, self.tokens, self.first_ns, self.hold_ns)
        else:
            offset_ns = self.hold_ns
        self.wait(offset_ns + self.stalled_ns)

    def _strike(self, kind: FaultKind, out: bytes) -> None:
        """The fault half way, after the tokens in `out`."""
        self.mid_fault = None
        if kind is FaultKind.HALF_STREAM:
            self.finish(out, close=True)
        elif kind is FaultKind.TRUNCATED:
            self.finish(out + self.frames.end())
        elif kind is FaultKind.ERROR_FRAME:
            self.finish(out + self.frames.error() + self.frames.end())
        elif kind is FaultKind.BAD_JSON:
            self.line.write(out + self.frames.frame(BROKEN_EVENT))
            self.sent += 1  # in the place of a token
            self.step()
        else:
            self._stall(out)

    def _stall(self, out: bytes) -> None:
        if out:
            self.line.write(out)
        stall_s = None if self.fault is None else self.fault.stall_s
        if stall_s is not None:
            self.stalled_ns = round(stall_s * 1e9)
            self._wait_for_next()


def token_ns(index: int, tokens: int, first_ns: int, hold_ns: int) -> int:
    """When token `index` of `tokens` is due: the first at first_ns, the last at hold_ns, the others evenly between."""
    if tokens < 2:
        return first_ns
    return first_ns - (-(hold_ns - first_ns) * index // (tokens - 1))  # rounded up: due when asked again, not before


def tokens_due(elapsed_ns: int, tokens: int, first_ns: int, hold_ns: int) -> int:
    """How many tokens are due by now: the inverse of `token_ns`."""
    if elapsed_ns < first_ns or tokens == 0:
        return 0
    span_ns = hold_ns - first_ns
    if tokens == 1 or span_ns == 0:
        return tokens
    return min(tokens, (elapsed_ns - first_ns) * (tokens - 1) // span_ns + 1)
