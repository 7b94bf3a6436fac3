import asyncio
from time import perf_counter_ns

import pytest
import uvloop

from tasks.simulator.ask import Ask, Refused, read_ask, words
from tasks.simulator.exchange import hold_ns, token_ns, tokens_due
from tasks.simulator.gate import Gate, Place
from tasks.simulator.ledger import Ledger
from tasks.simulator.model import SimConfig
from tasks.simulator.timers import FdAlarm, LoopAlarm, Timers


class Guest:
    """Takes a slot and keeps it until told to leave; `hasty` leaves as it begins."""

    def __init__(self, name, log, gate, hasty=False):
        self.name, self.log, self.gate, self.hasty = name, log, gate, hasty
        self.place, self.take_ns = Place.OUTSIDE, 0

    def begin(self):
        self.log.append(self.name)
        if self.hasty:
            self.gate.leave(self)


def make(slots, queue_limit=0):
    ledger, log = Ledger(), []
    gate = Gate(slots, queue_limit, ledger)
    return gate, ledger, log, lambda name, **more: Guest(name, log, gate, **more)


def test_the_queue_is_first_in_first_out():
    gate, ledger, log, guest = make(2)
    guests = [guest(i) for i in range(5)]
    assert all(gate.enter(g) for g in guests)
    assert (log, gate.in_flight, gate.queued) == ([0, 1], 2, 3)
    gate.leave(guests[1])
    gate.leave(guests[0])
    assert (log, gate.in_flight, gate.queued, ledger.holds) == ([0, 1, 2, 3], 2, 1, 2)


def test_a_full_queue_lets_nobody_in():
    gate, _, log, guest = make(1, queue_limit=1)
    assert [gate.enter(guest(i)) for i in range(3)] == [True, True, False]
    assert log == [0]


def test_who_leaves_the_queue_is_passed_over():
    gate, ledger, log, guest = make(1)
    guests = [guest(i) for i in range(3)]
    for g in guests:
        gate.enter(g)
    gate.leave(guests[1], served=False)
    gate.leave(guests[0], served=False)
    assert (log, gate.in_flight, gate.queued, ledger.holds) == ([0, 2], 1, 0, 0)


def test_leaving_twice_frees_one_slot():
    gate, _, _, guest = make(2)
    first, second = guest(1), guest(2)
    gate.enter(first)
    gate.enter(second)
    gate.leave(first)
    gate.leave(first)
    assert gate.in_flight == 1


def test_ten_thousand_hasty_guests_do_not_recurse():
    gate, ledger, log, guest = make(1)
    slow = guest("slow")
    gate.enter(slow)
    for i in range(10_000):
        gate.enter(guest(i, hasty=True))
    gate.leave(slow)
    assert (len(log), gate.in_flight, gate.queued, ledger.holds) == (10_001, 0, 0, 10_001)


def test_more_slots_let_the_queue_in_at_once():
    gate, _, log, guest = make(1)
    for i in range(4):
        gate.enter(guest(i))
    gate.resize(3, 0)
    assert (log, gate.queued) == ([0, 1, 2], 1)


def test_a_freed_slot_is_taken_at_the_instant_it_is_freed():
    gate, ledger, _, guest = make(1)
    first, second = guest(1), guest(2)
    gate.enter(first)
    gate.enter(second)
    gate.leave(first)
    assert second.take_ns == first.take_ns + ledger.held_ns


@pytest.mark.parametrize(("tokens", "first", "hold"), [(1, 3, 10), (2, 3, 10), (7, 3, 10), (5, 0, 0), (16, 300, 1000)])
def test_due_tokens_are_counted_as_a_loop_over_them_would(tokens, first, hold):
    times = [token_ns(i, tokens, first, hold) for i in range(tokens)]
    assert times[0] == first
    assert times[-1] == (hold if tokens > 1 else first)
    for elapsed in range(hold + 3):
        assert tokens_due(elapsed, tokens, first, hold) == sum(t <= elapsed for t in times)


def test_a_hold_follows_the_configuration():
    stream = Ask(b'"m"', True, False, 11, True, 3)
    timed = SimConfig(service_ms=7.0, first_token_ms=20.0, per_token_ms=2.0)
    assert hold_ns(timed, stream, 1.5) == (30_000_000, 60_000_000)
    assert hold_ns(timed, stream._replace(stream=False), 1.0)[1] == 7_000_000
    assert hold_ns(SimConfig(service_ms=10.0), stream, 1.0) == (3_000_000, 10_000_000)


def test_prompt_tokens_are_words_of_all_contents():
    assert words({"content": "one  two\nthree"}) == 3
    assert words({"content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]}) == 2
    assert words({"content": None}) == 0
    assert words("no message") == 0


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "JSON object"),
        (b'{"messages":[{}]}', 400, "model"),
        (b'{"model":"a","messages":[]}', 400, "messages"),
        (b'{"model":"a","messages":[{}],"max_tokens":0}', 400, "max_tokens"),
        (b'{"model":"a","messages":[{}],"max_tokens":true}', 400, "max_tokens"),
        (b'{"model":"b","messages":[{}]}', 404, "`b` does not exist"),
    ],
)
def test_a_wrong_request_is_refused(body, status, says):
    with pytest.raises(Refused, match=says) as refused:
        read_ask(body, ("a",), 16)
    assert refused.value.status == status


def test_tokens_come_from_either_name_or_the_default():
    def read(rest: bytes) -> tuple[int, bool]:
        ask = read_ask(b'{"model":"a","messages":[{}]' + rest + b"}", (), 16)
        return ask.tokens, ask.limited

    assert read(b"") == (16, False)
    assert read(b',"max_tokens":5') == (5, True)
    assert read(b',"max_completion_tokens":6') == (6, True)


async def _order(alarm_of):
    loop = asyncio.get_running_loop()
    timers, calls, done = Timers(loop, alarm_of), [], asyncio.Event()
    start = perf_counter_ns()

    def call(name, due):
        calls.append((name, perf_counter_ns() >= due))
        if name == "again":
            done.set()

    def later():
        call("mid", start + 4_000_000)
        timers.at(start + 6_000_000, lambda: call("again", start + 6_000_000))

    timers.at(start + 5_000_000, lambda: call("late", start + 5_000_000))
    timers.at(start + 2_000_000, lambda: call("early", start + 2_000_000))
    timers.at(start + 4_000_000, later)
    timers.at(start - 1, lambda: call("past", start - 1))
    await asyncio.wait_for(done.wait(), 5)
    timers.close()
    return calls


@pytest.mark.parametrize("alarm_of", [FdAlarm, LoopAlarm])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_timers_call_in_order_and_never_early(alarm_of, loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        calls = runner.run(_order(alarm_of))
    assert calls == [("past", True), ("early", True), ("mid", True), ("late", True), ("again", True)]
