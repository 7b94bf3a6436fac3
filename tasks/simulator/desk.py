"""The simulator itself, sockets apart: takes requests in, starts exchanges, tells what it counted."""

import hmac
import time
from collections.abc import Mapping
from typing import Any

import orjson

from tasks.simulator.ask import Ask, Refused, read_ask
from tasks.simulator.draws import Draws
from tasks.simulator.exchange import Line, Plain, Stream
from tasks.simulator.gate import Gate
from tasks.simulator.ledger import Ledger
from tasks.simulator.model import AT_ONCE, OWN_DOING, Fault, FaultKind, SimConfig
from tasks.simulator.timers import Timers
from tasks.simulator.wording import Reply, error_body, whole


class Simulator:
    """Configuration, gate, draws and counters of one simulated gateway."""

    def __init__(self, config: SimConfig, timers: Timers, api_key: str | None) -> None:
        self.config, self.timers = config, timers
        self.ledger = Ledger()
        self.gate = Gate(config.slots, config.queue_limit, self.ledger)
        self._draws = Draws(config)
        self._bearer = None if api_key is None else b"Bearer " + api_key.encode()

    def allows(self, authorization: bytes) -> bool:
        """Is this the value of the authorization header that was asked for? Without a key everybody is let in."""
        return self._bearer is None or hmac.compare_digest(authorization, self._bearer)

    def chat(self, line: Line, body: bytes, reply: Reply) -> None:
        """Answer a chat completion, at once or by an exchange, which is then `line.exchange` until it is over."""
        ledger, config = self.ledger, self.config
        ledger.requests += 1
        try:
            ask = read_ask(body, config.models, config.default_tokens)
        except Refused as refused:
            ledger.ended("refused")
            refuse(line, reply, refused)
            return
        fault, factor = self._draws.fault(), self._draws.factor()
        if fault is not None and fault.kind in AT_ONCE:
            ledger.ended(fault.kind.value)
            _fail_at_once(line, reply, fault)
            return
        if factor != 1.0:
            ledger.slowed += 1
        if fault is not None and fault.kind in OWN_DOING:
            ledger.own_doing[fault.kind.value] += 1
            ask, reply, times = _own_doing(fault.kind, ask, reply)
            fault, factor = None, factor * times
        kind = Stream if ask.stream else Plain
        exchange = kind(self, line, ask, reply, scale=factor * self._draws.unit(), fault=fault)
        line.exchange = exchange
        if not self.gate.enter(exchange):
            ledger.ended("queue_full")
            _too_many(line, reply, "the queue is full", 1)

    def models(self) -> bytes:
        """The body of GET /v1/models; a simulator that knows every model names one."""
        data = [{"id": m, "object": "model", "created": 0, "owned_by": "gatebench"} for m in self.config.models]
        if not data:
            data = [{"id": "simulator", "object": "model", "created": 0, "owned_by": "gatebench"}]
        return orjson.dumps({"object": "list", "data": data})

    def stats(self) -> dict[str, Any]:
        """Counters since the start or the last reset, as `GET /sim/stats` gives them."""
        gate = self.gate
        return self.ledger.summary(gate.slots) | {
            "in_flight": gate.in_flight,
            "queued": gate.queued,
            "peak_in_flight": gate.peak_in_flight,
            "cpu_s": time.process_time(),
            "seed": self.config.seed,
        }

    def reset(self) -> None:
        """Zero the counters. Requests under way go on and are counted when they end; draws are not rewound."""
        self.ledger.zero(self.gate.in_flight + self.gate.queued)
        self.gate.peak_in_flight = self.gate.in_flight

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change fields live: for every slot taken from now on. A seed, even the same one, rewinds the draws.
        Raises UsageError, and then nothing is changed."""
        config = self.config.changed(changes)
        self.config = config
        if "seed" in changes:
            self._draws = Draws(config)
        else:
            self._draws.follow(config)
        self.gate.resize(config.slots, config.queue_limit)


def refuse(line: Line, reply: Reply, refused: Refused) -> None:
    answer(line, reply, refused.status, error_body(refused.status, refused.message, refused.code))


def answer(line: Line, reply: Reply, status: int, body: bytes, extra: bytes = b"") -> None:
    """An answer that takes no slot."""
    line.write(whole(reply, status, body, extra))
    line.over(close=not reply.keep_alive)


def _fail_at_once(line: Line, reply: Reply, fault: Fault) -> None:
    if fault.kind is FaultKind.RESET:
        line.reset()
    elif fault.kind is FaultKind.RATE_LIMITED:
        _too_many(line, reply, "rate limit reached", fault.retry_after_s)
    else:
        answer(line, reply, fault.status, error_body(fault.status, "a simulated failure", "simulated"))


def _own_doing(kind: FaultKind, ask: Ask, reply: Reply) -> tuple[Ask, Reply, float]:
    """(what is answered, with which headers, by how much the hold is multiplied)."""
    if kind is FaultKind.CACHE_HIT:
        return ask, reply._replace(told=b"x-litellm-cache-key: simulated\r\n"), 0.0
    if kind is FaultKind.RETRIED:
        return ask, reply._replace(told=b"x-litellm-attempted-retries: 1\r\n"), 2.0
    other = ask._replace(model=ask.model[:-1] + b'-fallback"')
    return other, reply._replace(told=b"x-litellm-attempted-fallbacks: 1\r\n"), 1.0


def _too_many(line: Line, reply: Reply, message: str, retry_after_s: int) -> None:
    body = error_body(429, message, "rate_limit_exceeded")
    answer(line, reply, 429, body, b"retry-after: %d\r\n" % retry_after_s)
