"""The engine on a clock that jumps, against a slow simulation that does one event after the other and nothing else.

Times are drawn to the nanosecond, so that no two events fall on one instant and the order is never a matter of luck.
"""

import asyncio
import math
import random
from dataclasses import dataclass, field

import pytest

from storage.records import Failure, Phase
from tasks.load import schedule
from tasks.load.engine import Engine
from tasks.load.limits import Stopper
from tasks.load.schedule import Schedule, Turn
from tasks.load.spec import BreakerSpec, BudgetSpec
from tests.fakes.virtual import ListKeeper, NumberMaker, VirtualSender, VirtualWake, now_ns, run

S = 1_000_000_000
Row = tuple[str, int, int, int, str | None]  # phase, intended, sent, end, failure


@dataclass
class Outcome:
    rows: dict[int, Row] = field(default_factory=dict)  # by seq
    dropped: int = 0
    queued: int = 0
    peak: int = 0
    reason: str | None = None


class Bench:
    """The real engine on a virtual clock that begins at 0."""

    def __init__(self, service: list[int | None], by_payload: bool, drain_ns: int, **budget):
        self.sender = VirtualSender(lambda payload, nth: service[int(payload) if by_payload else nth])
        self.keeper = ListKeeper()
        self.stopper = Stopper(BudgetSpec(**budget), BreakerSpec(enabled=False), 0)
        self.drain_ns = drain_ns

    def engine(self) -> Engine:
        return Engine(self.sender, NumberMaker(), self.keeper, self.stopper, drain_ns=self.drain_ns, clock=now_ns)

    def open(self, plan: Schedule, cap: int = 10**6, on_full: str = "queue") -> Outcome:
        async def main() -> None:
            self.made = self.engine()
            await self.made.open_loop(plan, VirtualWake(), max_in_flight=cap, on_full=on_full, t0_ns=0)

        run(main())
        return self.outcome()

    def closed(self, users: int, requests: int) -> Outcome:
        async def main() -> None:
            self.made = self.engine()
            await self.made.closed_loop(users, requests, range(3))

        run(main())
        return self.outcome()

    def outcome(self) -> Outcome:
        tally = self.made.tally
        rows = {r.seq: (str(r.phase), r.intended_ns, r.sent_ns, r.end_ns, r.failure) for r in self.keeper.rows}
        assert len(rows) == len(self.keeper.rows) == len(self.sender.sent)  # attempted = rows, always
        measured = [row for row in rows.values() if row[0] == Phase.MEASURED]
        assert tally.measured == len(measured) == tally.ok + sum(tally.failed.values())
        events = sorted([(row[2], 1) for row in rows.values()] + [(row[3], -1) for row in rows.values()])
        peak = now = 0
        for _, step in events:
            now += step
            peak = max(peak, now)
        return Outcome(rows, tally.dropped, tally.queued, peak, self.stopper.reason)


# --- open loop


def open_oracle(
    plan: Schedule, service: list[int | None], cap: int, on_full: str, drain_ns: int, requests: float = math.inf
) -> Outcome:
    out = Outcome()
    due = {k: plan.due_ns[k] for k in plan.firsts}  # what may be sent, and when
    flying: dict[int, tuple[int, int, float]] = {}  # position -> intended, sent, end
    now = held_until = 0

    def end_of(k: int) -> float:
        return flying[k][2]

    def end(k: int, at: int, failure: str | None = None) -> None:
        intended, sent, _ = flying.pop(k)
        phase = Phase.WARMUP if plan.warmup[k] else Phase.MEASURED
        out.rows[plan.seq[k]] = (str(phase), intended, sent, at, failure)
        follow(k, at)

    def follow(k: int, at: int) -> None:
        turn = plan.turns.get(k)
        if turn is not None:
            due[turn.position] = max(at + turn.think_ns, turn.not_before_ns)

    while out.reason is None and (due or any(k in plan.turns for k in flying)):
        first = min(flying, key=end_of, default=None)
        head = min(due, key=lambda k: (due[k], k), default=None)
        if head is None or (first is not None and end_of(first) < max(now, due[head])):
            assert first is not None
            now = max(now, int(end_of(first)))
            end(first, int(end_of(first)))
            continue
        now, intended = max(now, due[head]), due.pop(head)
        measured = not plan.warmup[head]
        if len(flying) >= cap and on_full != "queue":
            out.dropped += measured
            follow(head, now)
            if on_full == "abort":
                out.reason = "max_in_flight"
            continue
        if len(flying) >= cap:
            first = min(flying, key=end_of)
            now = held_until = int(end_of(first))
            end(first, now)
        out.queued += measured and intended < held_until
        takes = service[plan.seq[head]]
        flying[head] = (intended, now, math.inf if takes is None else now + takes)
        if len(out.rows) + len(flying) >= requests:
            out.reason = "budget"
    for k in sorted(flying, key=end_of):
        late = end_of(k) > now + drain_ns
        end(k, now + drain_ns if late else int(end_of(k)), Failure.CENSORED if late else None)
    return out


def some_schedule(rng: random.Random, sessions: bool) -> Schedule:
    count = rng.randint(1, 60)
    due = sorted(rng.randrange(20 * S) for _ in range(count))
    turns: dict[int, Turn] = {}
    if sessions:
        talking: dict[int, int] = {}
        for k in range(count):
            speaker = rng.randrange(6)
            if speaker in talking:
                wait = rng.choice([0, rng.randrange(3 * S)])
                turns[talking[speaker]] = Turn(k, wait, rng.choice([0, due[k]]))
            talking[speaker] = k
    warmup = [int(at < rng.choice([0, 4 * S])) for at in due]
    return Schedule(due, [rng.randrange(3) for _ in due], warmup, range(count), turns)


@pytest.mark.parametrize("on_full", ["queue", "drop", "abort"])
@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_an_open_loop_does_what_the_slow_simulation_does(on_full, sessions, seed):
    rng = random.Random(f"{on_full}{sessions}{seed}")
    plan = some_schedule(rng, sessions)
    slow = rng.choice([S // 10, S, 5 * S])
    service: list[int | None] = [rng.randrange(1, slow) for _ in range(len(plan))]
    cap = rng.choice([1, 2, 3, 7, 10**6])
    wanted = open_oracle(plan, service, cap, on_full, 3 * S)
    got = Bench(service, True, 3 * S).open(plan, cap, on_full)
    assert got.rows == wanted.rows
    assert (got.dropped, got.queued, got.reason) == (wanted.dropped, wanted.queued, wanted.reason)
    assert got.peak <= cap


@pytest.mark.parametrize("seed", range(40))
def test_what_hangs_is_kept_as_censored_at_the_end_of_the_drain(seed):
    rng = random.Random(seed)
    plan = some_schedule(rng, False)
    service = [rng.choice([None, rng.randrange(1, 8 * S)]) for _ in range(len(plan))]
    wanted = open_oracle(plan, service, 10**6, "queue", 2 * S)
    got = Bench(service, True, 2 * S).open(plan)
    assert got.rows == wanted.rows
    assert len(got.rows) == len(plan)
    last = plan.due_ns[-1] + 2 * S
    assert {row[3] for row in got.rows.values() if row[4] == "censored"} <= {last}


@pytest.mark.parametrize("seed", range(20))
def test_a_budget_of_requests_ends_an_open_loop_and_all_that_was_sent_has_a_row(seed):
    rng = random.Random(seed)
    plan = some_schedule(rng, sessions=seed % 2 == 0)
    service: list[int | None] = [rng.randrange(1, 3 * S) for _ in range(len(plan))]
    budget = rng.randint(1, len(plan))
    wanted = open_oracle(plan, service, 10**6, "queue", 5 * S, budget)
    got = Bench(service, True, 5 * S, requests=budget).open(plan)
    assert (got.rows, got.reason) == (wanted.rows, wanted.reason)
    assert len(got.rows) == budget


@pytest.mark.parametrize("shards", [2, 3])
def test_workers_that_send_a_stripe_each_send_together_what_one_would_have_sent(shards):
    rng = random.Random(shards)
    plan = some_schedule(rng, sessions=True)
    service: list[int | None] = [rng.randrange(1, S) for _ in range(len(plan))]
    whole = Bench(service, True, 5 * S).open(plan)
    parts = [Bench(service, True, 5 * S).open(schedule.stripe(plan, k, shards)) for k in range(shards)]
    assert {seq: row for part in parts for seq, row in part.rows.items()} == whole.rows


def test_turns_of_a_session_never_overlap_and_are_intended_when_the_last_ended_and_was_thought_about():
    turns = {0: Turn(1, 2 * S, 0), 1: Turn(2, 0, 0), 2: Turn(3, 0, 100 * S)}
    plan = Schedule([0, 5 * S, 6 * S, 100 * S], [0] * 4, [0] * 4, range(4), turns)
    rows = Bench([3 * S, 4 * S, S, S], True, S).open(plan).rows
    assert [rows[k][1:4] for k in range(4)] == [
        (0, 0, 3 * S),
        (5 * S, 5 * S, 9 * S),
        (9 * S, 9 * S, 10 * S),
        (100 * S, 100 * S, 101 * S),
    ]


def test_a_turn_that_comes_due_while_the_loop_sleeps_for_a_later_start_is_sent_in_time():
    plan = Schedule([0, S, 500 * S], [0] * 3, [0] * 3, range(3), {0: Turn(1, S, 0)})
    rows = Bench([2 * S, S, S], True, S).open(plan).rows
    assert [rows[k][1:3] for k in range(3)] == [(0, 0), (3 * S, 3 * S), (500 * S, 500 * S)]


def test_a_turn_whose_last_was_dropped_is_due_after_its_think_time_all_the_same():
    plan = Schedule([0, S, 2 * S], [0] * 3, [0] * 3, range(3), {1: Turn(2, 4 * S, 0)})
    got = Bench([3 * S, S, S], True, S).open(plan, 1, "drop")
    assert ({seq: row[1] for seq, row in got.rows.items()}, got.dropped) == ({0: 0, 2: 5 * S}, 1)


# --- closed loop


def closed_oracle(
    users: int, requests: int, service: list[int | None], drain_ns: int, wall_ns: float = math.inf
) -> Outcome:
    out = Outcome()
    flying: list[tuple[float, int, str, int, int]] = []  # end, seq, phase, intended, sent
    tickets = unfinished = requests
    deadline = math.inf

    def send(phase: Phase, now: int) -> None:
        seq = len(out.rows) + len(flying)
        takes = service[seq]
        flying.append((math.inf if takes is None else now + takes, seq, str(phase), now, now))

    for _ in range(users):
        send(Phase.WARMUP, 0)
    while flying:
        first = min(flying)
        if wall_ns < min(first[0], deadline):
            if deadline == math.inf:  # else all was over before the time was
                deadline, out.reason = wall_ns + drain_ns, "budget"
            wall_ns = math.inf
            continue
        if deadline < first[0]:
            for _, seq, phase, intended, sent in flying:
                out.rows[seq] = (phase, intended, sent, int(deadline), Failure.CENSORED)
            break
        flying.remove(first)
        end, seq, phase, intended, sent = first
        out.rows[seq] = (phase, intended, sent, int(end), None)
        unfinished -= phase == Phase.MEASURED
        if unfinished > 0 and out.reason is None:
            send(Phase.MEASURED if tickets > 0 else Phase.COOLDOWN, int(end))
            tickets -= 1
        else:
            deadline = min(deadline, end + drain_ns)
    return out


@pytest.mark.parametrize("seed", range(60))
def test_a_closed_loop_does_what_the_slow_simulation_does(seed):
    rng = random.Random(seed)
    users, requests = rng.randint(1, 12), rng.randint(1, 40)
    service: list[int | None] = [rng.randrange(1, S) for _ in range(4000)]
    wanted = closed_oracle(users, requests, service, S // 2)
    got = Bench(service, False, S // 2).closed(users, requests)
    assert (got.rows, got.reason) == (wanted.rows, None)
    phases = [row[0] for row in got.rows.values()]
    assert (phases.count("warmup"), phases.count("measured")) == (users, requests)
    assert got.peak <= users + 1  # the next is sent at the instant that the last ended


@pytest.mark.parametrize("seed", range(30))
def test_a_budget_of_time_ends_a_closed_loop_also_where_requests_hang(seed):
    rng = random.Random(seed)
    users, requests = rng.randint(1, 8), rng.randint(20, 200)
    share = rng.choice([0.0, 0.1, 1.0])
    service = [None if rng.random() < share else rng.randrange(1, S) for _ in range(4000)]
    wall_s = rng.choice([1.5, 4.0])
    wanted = closed_oracle(users, requests, service, S, wall_s * S)
    got = Bench(service, False, S, wall_s=wall_s).closed(users, requests)
    assert (got.rows, got.reason) == (wanted.rows, wanted.reason)


def test_users_that_all_hang_are_given_up_when_the_time_and_the_drain_are_over():
    got = Bench([None] * 3, False, 2 * S, wall_s=10.0).closed(3, 5)
    assert got.reason == "budget"
    assert set(got.rows.values()) == {("warmup", 0, 0, 12 * S, "censored")}


def test_time_that_runs_out_in_the_drain_stops_nothing():
    plan = Schedule([0], [0], [0], range(1))
    got = Bench([5 * S], True, 60 * S, wall_s=2.0).open(plan)
    assert (got.reason, got.rows[0][4]) == (None, None)
    surplus = Bench([S, S + S // 2, 2 * S, None], False, 5 * S, wall_s=6.0).closed(2, 1)
    assert (surplus.reason, surplus.rows[3]) == (None, ("cooldown", S + S // 2, S + S // 2, 8 * S, "censored"))


def test_time_that_runs_out_while_an_open_loop_waits_for_room_or_for_a_start_ends_it():
    full = Bench([None] * 2, True, S, wall_s=3.0).open(Schedule([0, 0], [0] * 2, [0] * 2, range(2)), 1)
    assert (full.reason, full.rows) == ("budget", {0: ("measured", 0, 0, 4 * S, "censored")})
    idle = Bench([S] * 2, True, S, wall_s=3.0).open(Schedule([0, 100 * S], [0] * 2, [0] * 2, range(2)))
    assert (idle.reason, list(idle.rows)) == ("budget", [0])


def test_a_stop_while_a_turn_is_waited_for_ends_the_leg():
    plan = Schedule([0, S], [0] * 2, [0] * 2, range(2), {0: Turn(1, 0, 0)})
    bench = Bench([None, None], True, 2 * S)

    async def main() -> None:
        bench.made = bench.engine()
        sending = asyncio.create_task(
            bench.made.open_loop(plan, VirtualWake(), max_in_flight=9, on_full="queue", t0_ns=0)
        )
        await asyncio.sleep(5)
        bench.stopper.stop("interrupted", "interrupted")
        bench.made.give_up(Failure.CANCELLED)
        await sending

    run(main())
    assert bench.outcome().rows == {0: ("measured", 0, 0, 5 * S, "cancelled")}
