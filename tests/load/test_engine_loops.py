"""The two loops, driven by hand: a sender that answers when the test says so, and a clock that only ticks."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from storage.errors import StorageError
from storage.records import Failure, Phase, Sample
from tasks.load.engine import Engine
from tasks.load.limits import Stopper
from tasks.load.requests import Prepared
from tasks.load.schedule import Schedule
from tasks.load.spec import BreakerSpec, BudgetSpec
from tasks.load.wire import Exchange, Origin

BODY = b'{"model":"m","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"completion_tokens":5}}'
ORIGIN = Origin("http", "h", 80)


class Sender:
    """Keeps what was sent; `answer` ends one of them, and `at_once` ends all of them as they come."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.sent: list[Exchange] = []
        self.settled: list[Exchange] = []
        self.peak = 0

    def start(self, origin: Origin, payload: bytes, *, on_end: Callable[[Exchange], None]) -> Exchange:
        loop = asyncio.get_running_loop()
        exchange = Exchange(origin, payload, on_end)
        exchange.sent_ns = exchange.started_ns
        self.sent.append(exchange)
        self.peak = max(self.peak, sum(1 for e in self.sent if not e.end_ns))
        if self.at_once:
            loop.call_soon(self.answer, exchange)
        return exchange

    def settle(self, exchange: Exchange) -> None:
        self.settled.append(exchange)

    def answer(self, exchange: Exchange, body: bytes = BODY) -> None:
        exchange.status = 200
        exchange.body.append(body)
        exchange.finish(exchange.started_ns + 1_000)


class Maker:
    """The payload names the arrival it was made from."""

    origin = ORIGIN

    def make(self, seq: int, index: int) -> Prepared:
        return Prepared(b"%d" % index, "m", False)


class Keeper:
    def __init__(self, error: Exception | None = None) -> None:
        self.rows: list[Sample] = []
        self.error = error

    def add(self, sample: Sample) -> None:
        if self.error is not None:
            raise self.error
        self.rows.append(sample)


class Ticks:
    """Never waits, but lets everybody else run; sleeps for good before the starts in `sleep_before`."""

    def __init__(self, sleep_before: int | None = None) -> None:
        self._left = sleep_before
        self._asleep = asyncio.Event()

    async def until(self, due_ns: int) -> bool:
        if self._left is not None:
            if self._left == 0:
                await self._asleep.wait()
                return True
            self._left -= 1
        await asyncio.sleep(0)
        return True

    def cut(self) -> None:
        self._asleep.set()

    def close(self) -> None:
        return None


class Bench:
    """An engine and everything it touches."""

    def __init__(self, *, at_once: bool = True, error: Exception | None = None, drain_s: float = 5.0, **budget: Any):
        self.sender, self.keeper = Sender(at_once=at_once), Keeper(error)
        self.stopper = Stopper(BudgetSpec(**budget), BreakerSpec(enabled=False), 0)
        self.sent_when_all_was: list[int] = []
        self.engine = Engine(
            *(self.sender, Maker(), self.keeper, self.stopper),
            drain_ns=int(drain_s * 1e9),
            sent_all=lambda: self.sent_when_all_was.append(len(self.sender.sent)),
        )

    async def closed(self, users: int, requests: int, arrivals: int = 4) -> None:
        await asyncio.wait_for(self.engine.closed_loop(users, requests, range(arrivals)), 10)

    async def open(self, starts: list[int], wake: Ticks | None = None, **options: Any) -> None:
        warmup_ns = options.pop("warmup_ns", 0)
        options = {"max_in_flight": 1000, "on_full": "queue", **options}
        everyone = range(len(starts))
        schedule = Schedule(starts, everyone, [int(start < warmup_ns) for start in starts], everyone)
        await asyncio.wait_for(self.engine.open_loop(schedule, wake or Ticks(), **options), 10)

    def phases(self) -> dict[str, int]:
        phases = [row.phase for row in self.keeper.rows]
        return {phase: phases.count(phase) for phase in Phase}


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.mark.parametrize(("users", "requests"), [(1, 1), (1, 10), (4, 10), (10, 3), (7, 7)])
async def test_each_users_first_is_warm_up_then_exactly_as_many_as_asked_are_measured(bench, users, requests):
    b = bench()
    await b.closed(users, requests)
    phases = b.phases()
    assert (phases["warmup"], phases["measured"]) == (users, requests)
    assert phases["cooldown"] <= 2 * users
    assert b.engine.tally.measured == b.engine.tally.ok == requests
    assert b.sender.peak == users


async def test_every_request_has_one_row_and_a_number_of_its_own(bench):
    b = bench()
    await b.closed(4, 30)
    assert len(b.keeper.rows) == len(b.sender.sent) == len(b.sender.settled)
    seqs = [row.seq for row in b.keeper.rows]
    assert len(set(seqs)) == len(seqs)
    assert max(seqs) < len(seqs) + 4  # each user has its next one ready


async def test_a_user_sends_its_next_only_when_its_last_has_ended(bench):
    b = bench(at_once=False)
    task = asyncio.create_task(b.closed(2, 2))
    await asyncio.sleep(0.01)
    assert len(b.sender.sent) == 2
    b.sender.answer(b.sender.sent[1])
    await asyncio.sleep(0.01)
    assert len(b.sender.sent) == 3
    b.sender.at_once = True
    for exchange in b.sender.sent:
        b.sender.answer(exchange)
    await task
    assert b.phases()["measured"] == 2


async def test_in_a_closed_loop_a_request_is_intended_when_the_users_last_one_ended(bench):
    b = bench()
    await b.closed(1, 3)
    ends = [row.end_ns for row in b.keeper.rows]
    assert [row.intended_ns for row in b.keeper.rows] == [0, *ends[:-1]]
    assert len(b.engine.tally.lags_ns) == 3


async def test_arrivals_are_drawn_in_order_again_and_again(bench):
    b = bench()
    await b.closed(1, 5, arrivals=3)
    assert [int(e.payload) for e in b.sender.sent][:6] == [0, 1, 2, 0, 1, 2]


async def test_users_keep_the_load_up_until_the_last_measured_one_has_ended(bench):
    b = bench(at_once=False)
    task = asyncio.create_task(b.closed(2, 1))
    await asyncio.sleep(0.01)
    warm = list(b.sender.sent)
    b.sender.answer(warm[0])
    await asyncio.sleep(0.01)
    b.sender.answer(warm[1])
    await asyncio.sleep(0.01)
    measured, surplus = b.sender.sent[2:]
    for _ in range(3):  # the other user goes on and on
        b.sender.answer(surplus)
        await asyncio.sleep(0.01)
        surplus = b.sender.sent[-1]
    b.sender.answer(measured)
    await asyncio.sleep(0.01)
    b.sender.answer(surplus)
    await task
    assert b.phases() == {"warmup": 2, "measured": 1, "cooldown": 4}


async def test_surplus_that_never_ends_is_cut_off_at_the_drain_deadline_and_kept(bench):
    b = bench(at_once=False, drain_s=0.1)
    task = asyncio.create_task(b.closed(2, 1))
    for exchange in (0, 1, 2):
        await asyncio.sleep(0.01)
        b.sender.answer(b.sender.sent[exchange])
    await task
    left = [row for row in b.keeper.rows if row.failure is not None]
    assert [(row.phase, row.failure) for row in left] == [("cooldown", "censored")]
    assert left[0].end_ns - left[0].sent_ns >= 90_000_000


@pytest.mark.parametrize("loop", ["closed", "open"])
async def test_a_budget_of_requests_stops_exactly_there(bench, loop):
    b = bench(requests=7)
    await (b.closed(3, 100) if loop == "closed" else b.open([0] * 100))
    assert (len(b.sender.sent), len(b.keeper.rows), b.stopper.reason) == (7, 7, "budget")


async def test_a_budget_of_tokens_stops_within_a_request_a_user(bench):
    b = bench(output_tokens=50)
    await b.closed(3, 1000)
    assert b.stopper.reason == "budget"
    assert 10 <= len(b.keeper.rows) <= 10 + 2 * 3


async def test_a_row_that_cannot_be_kept_ends_a_closed_loop_with_its_own_error(bench):
    b = bench(error=StorageError("the disk is full"))
    with pytest.raises(StorageError, match="the disk is full"):
        await b.closed(3, 1000)


@pytest.mark.parametrize("error", [StorageError("the disk is full"), ValueError("a bug")])
async def test_a_row_that_cannot_be_kept_ends_an_open_loop_with_its_own_error(bench, error):
    b = bench(error=error)
    with pytest.raises(type(error), match=str(error)):
        await b.open([0] * 1000)
    assert len(b.sender.sent) < 1000


async def test_an_open_loop_sends_everything_whatever_comes_back(bench):
    b = bench(at_once=False, drain_s=0.05)
    await b.open([k * 1000 for k in range(20)])
    assert len(b.sender.sent) == 20
    assert [row.failure for row in b.keeper.rows] == [Failure.CENSORED] * 20


async def test_in_an_open_loop_the_schedule_says_what_was_intended_and_what_is_measured(bench):
    b = bench()
    await b.open([0, 10, 20, 30], warmup_ns=20)
    rows = sorted(b.keeper.rows, key=lambda row: row.seq)
    assert [row.intended_ns for row in rows] == [0, 10, 20, 30]
    assert [row.phase for row in rows] == ["warmup", "warmup", "measured", "measured"]


async def test_an_open_loop_says_once_that_all_is_sent_before_it_waits_for_the_answers(bench):
    b = bench(at_once=False, drain_s=0.05)
    await b.open([0, 1000, 2000])
    assert (b.sent_when_all_was, len(b.keeper.rows)) == ([3], 3)


async def test_what_is_left_at_the_deadline_is_kept_at_its_age(bench):
    b = bench(at_once=False, drain_s=0.1)
    await b.open([0, 0])
    assert [row.failure for row in b.keeper.rows] == ["censored", "censored"]
    assert all(row.end_ns - row.sent_ns >= 90_000_000 for row in b.keeper.rows)
    assert b.engine.tally.failed == {"censored": 2}


async def test_a_dropped_request_takes_its_own_arrival_with_it(bench):
    b = bench(at_once=False, drain_s=0.05)

    class AnswersBeforeTheFourth(Ticks):
        calls = 0

        async def until(self, due_ns: int) -> bool:
            self.calls += 1
            if self.calls == 4:
                b.sender.answer(b.sender.sent[0])
            return await super().until(due_ns)

    await b.open([0, 1, 2, 3], AnswersBeforeTheFourth(), max_in_flight=1, on_full="drop")
    assert [int(e.payload) for e in b.sender.sent] == [0, 3]
    assert [row.intended_ns for row in b.keeper.rows] == [0, 3]
    assert b.engine.tally.dropped == 2


async def test_abort_stops_at_the_first_that_has_no_room(bench):
    b = bench(at_once=False, drain_s=0.05)
    await b.open([0] * 10, max_in_flight=3, on_full="abort")
    assert (len(b.sender.sent), b.stopper.reason) == (3, "max_in_flight")


async def test_queue_sends_all_of_them_late_and_says_how_many(bench):
    b = bench()
    await b.open([0] * 10, max_in_flight=1, on_full="queue", t0_ns=1)
    assert (len(b.sender.sent), b.sender.peak) == (10, 1)
    assert b.engine.tally.queued + len(b.engine.tally.lags_ns) == 10
    assert b.engine.tally.queued > 0


async def test_an_open_loop_that_waits_for_a_far_start_is_woken_to_stop(bench):
    b = bench(at_once=False)
    task = asyncio.create_task(b.open([0, 10**18], Ticks(sleep_before=1)))
    await asyncio.sleep(0.02)
    b.stopper.stop("interrupted", "interrupted")
    b.engine.give_up(Failure.CANCELLED)
    await task
    assert [row.failure for row in b.keeper.rows] == ["cancelled"]


async def test_a_stop_by_what_came_back_does_not_wait_for_the_next_start(bench):
    b = bench(output_tokens=5)
    await b.open([0, 10**18], Ticks(sleep_before=1))
    assert (len(b.keeper.rows), b.stopper.reason) == (1, "budget")


async def test_headers_of_the_target_are_kept_where_they_are_on_the_list(bench):
    b = bench(at_once=False)
    task = asyncio.create_task(b.open([0]))
    await asyncio.sleep(0.02)
    b.sender.sent[0].headers = [(b"Server", b"gw/1"), (b"set-cookie", b"secret"), (b"via", b"v" * 300)]
    b.sender.answer(b.sender.sent[0])
    await task
    assert b.engine.tally.target_headers == {"server": "gw/1", "via": "v" * 200}
