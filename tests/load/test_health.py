"""Was it us? Figures of one worker and of several, the verdict on them, and a worker that is really held up."""

import asyncio
import gc
import os
import pickle
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.limits import HealthLimits as PlanLimits
from storage.records import Health, Validity
from tasks.load import health
from tasks.load.fleet import Fleet
from tasks.load.health import Probe, Vitals, judge
from tasks.load.lags import Lags, missed, quantile
from tasks.load.leg import run
from tasks.load.spec import HealthLimits
from tasks.load.workers import Processes

# Wide enough for a busy machine, far below what is done to the worker here.
WIDE = HealthLimits(
    suspect_lag_p99_ms=100.0,
    invalid_lag_p99_ms=200.0,
    suspect_loop_lag_p99_ms=100.0,
    invalid_loop_lag_p99_ms=200.0,
    suspect_cpu_share=2.0,
    invalid_cpu_share=2.0,
    invalid_achieved_share=0.5,
    suspect_gc_share=1.0,
    suspect_ports_share=1.0,
)
WELL = Health(0.1, 1.0, 3.0, 1.0, 0.3, 100.0, 100.0, 0, 20, 1024)
durations = st.lists(st.integers(0, 10**13), max_size=200)


def lags_of(*values: int) -> Lags:
    lags = Lags()
    lags.fold(values)
    return lags


def vitals(**changes: object) -> Vitals:
    return replace(Vitals(lags_of(), lags_of(), 1.0, 10.0, 0, 0, 10, 1000, 5, 100), **changes)


# --- counting durations


@settings(deadline=None)
@given(durations, st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_of_counted_durations_is_that_of_the_sorted_ones_to_a_percent(values, q):
    truth, found = quantile(values, q), lags_of(*values).quantile(q)
    if truth is None:
        assert found is None
    else:
        assert truth <= found <= truth * 1.008


@settings(deadline=None)
@given(durations, durations)
def test_counts_of_two_workers_add_up_to_those_of_one(one, two):
    both = lags_of(*one)
    both.add(lags_of(*two))
    together = lags_of(*one, *two)
    assert (
        (both.count, both.largest) == (together.count, together.largest) == (len(one) + len(two), max([0, *one, *two]))
    )
    assert [both.quantile(q / 20) for q in range(21)] == [together.quantile(q / 20) for q in range(21)]


@settings(deadline=None)
@given(durations)
def test_counts_are_the_same_on_the_other_side_of_a_process_border(values):
    there = pickle.loads(pickle.dumps(lags_of(*values)))  # noqa: S301 - our own
    here = lags_of(*values)
    assert (there.count, there.largest) == (here.count, here.largest)
    assert [there.quantile(q / 20) for q in range(21)] == [here.quantile(q / 20) for q in range(21)]


def test_a_million_durations_are_handed_over_in_one_piece():
    lags = lags_of(*(int(1.2**k) for k in range(150)), *range(1_000_000))
    assert len(pickle.dumps(lags)) < 32_000


@settings(deadline=None)
@given(durations, st.floats(0, 1e13))
def test_the_share_beyond_a_budget_is_that_of_the_values_to_a_percent_of_the_budget(values, budget):
    found = lags_of(*values).share_above(budget)
    if not values:
        assert found is None
    else:
        low, high = (sum(v > budget * by + 1 for v in values) / len(values) for by in (1.016, 1.0))
        assert low <= found <= max(high, sum(v > budget for v in values) / len(values))


def test_the_extremes_have_their_place():
    lags = lags_of(0, 255, 256, 2**62)
    assert [lags.quantile(q) for q in (0.25, 0.5, 0.75, 1.0)] == [0.0, 255.0, 257.0, float(2**62)]
    assert lags.share_above(-1.0) == 0.75  # nothing is early; what is not late at all is in the first bucket
    assert lags.share_above(float("inf")) == 0.0


def test_a_stall_counts_as_often_as_it_lasts():
    assert missed(-5, 10) == [0]
    assert missed(0, 10) == [0]
    assert missed(9, 10) == [9]
    assert missed(35, 10) == [35, 25, 15, 5]


# --- the probe


async def test_a_loop_that_is_held_up_is_seen(tmp_path):
    lags: list[int] = [5, 6]
    probe = Probe(asyncio.get_running_loop())
    probe.start(lags)
    await asyncio.sleep(0.03)
    block(0.3)
    await asyncio.sleep(0.03)
    found = probe.stop()
    assert found.loop_lags.largest > 250_000_000
    assert found.loop_lags.share_above(100_000_000) > 0.3
    assert (found.lags.count, found.lags.largest, lags) == (2, 6, [])
    assert found.cpu_s > 0
    assert found.open_files > 0


async def test_what_comes_after_the_last_request_is_no_part_of_it():
    cpu, wall = time.process_time(), time.perf_counter()
    probe = Probe(asyncio.get_running_loop())
    probe.start([])
    await asyncio.sleep(0.02)
    probe.sent_all()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    block(0.3)
    await asyncio.sleep(0.02)
    found = probe.stop()
    assert 0 < found.cpu_s <= cpu
    assert 0 < found.wall_s <= wall
    assert found.loop_lags.largest <= wall * 1e9


def block(seconds: float) -> None:
    """Hold up whoever calls, on purpose."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_pauses_of_the_collector_are_counted_and_timed():
    probe = Probe(asyncio.get_running_loop())
    probe.start([])
    rings: list[list] = [[] for _ in range(200_000)]
    for ring in rings:
        ring.append(ring)
    del rings
    gc.collect()
    found = probe.stop()
    assert found.gc_pauses >= 1
    assert 0 < found.gc_pause_ns < found.wall_s * 1e9
    assert probe._collected not in gc.callbacks


def test_ports_and_sockets_are_read_from_the_kernel(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "net/sockstat").write_text("sockets: used 23\nTCP: inuse 2 orphan 0 tw 40 mem 0\nUDP: inuse 7\n")
    (tmp_path / "net/sockstat6").write_text("TCP6: inuse 3\nUDP6: inuse 1\n")
    (tmp_path / "sys/net/ipv4/ip_local_port_range").write_text("32768\t60999\n")
    assert health.tcp_sockets(tmp_path) == 45
    assert health.ephemeral_ports(tmp_path) == 28232


def test_where_there_is_no_kernel_to_ask_nothing_is_said(tmp_path):
    assert health.tcp_sockets(tmp_path) is None
    assert health.ephemeral_ports(tmp_path) is None


# --- several workers


def test_lags_of_workers_are_pooled_and_of_everything_else_the_worst_one_stands():
    fast = vitals(lags=lags_of(*[1_000_000] * 99), loop_lags=lags_of(1_000_000), cpu_s=2.0, gc_pauses=1, ports=50)
    slow = vitals(lags=lags_of(80_000_000), loop_lags=lags_of(9_000_000), cpu_s=9.0, gc_pause_ns=10**9, open_files=900)
    found = health.health([fast, slow], budget_ms=5.0, offered_rps=10.0, achieved_rps=9.0)
    assert found.schedule_lag_p50_ms == pytest.approx(1.0, rel=0.01)
    assert found.schedule_lag_p99_ms == pytest.approx(1.0, rel=0.01)
    assert found.schedule_lag_max_ms == 80.0
    assert found.schedule_lag_over == 0.01
    assert (found.loop_lag_p99_ms, found.loop_lag_max_ms) == (9.0, 9.0)
    assert (found.cpu_share, found.gc_share, found.gc_pauses, found.gc_pause_ms) == (0.9, 0.1, 1, 1000.0)
    assert (found.open_files, found.open_files_limit, found.ports, found.ports_limit) == (900, 1000, 50, 100)
    assert (found.offered_rps, found.achieved_rps) == (10.0, 9.0)


def test_of_no_worker_nothing_is_known():
    found = health.health([], budget_ms=5.0, offered_rps=None, achieved_rps=None)
    assert {name for name, value in asdict(found).items() if value is not None} == {"gc_pauses", "gc_pause_ms"}


# --- the verdict

CASES = [
    ({}, Validity.VALID, []),
    ({"schedule_lag_p99_ms": 5.1}, Validity.SUSPECT, ["requests left late (schedule lag p99 5.1 ms)"]),
    ({"schedule_lag_p99_ms": 20.1}, Validity.INVALID, ["requests left late (schedule lag p99 20.1 ms)"]),
    (
        {"schedule_lag_p99_ms": 20.1, "schedule_lag_over": 0.25},
        Validity.INVALID,
        ["requests left late (schedule lag p99 20.1 ms; 25.0% beyond the budget)"],
    ),
    ({"loop_lag_p99_ms": 11.0}, Validity.SUSPECT, ["the event loop was held up (lag p99 11.0 ms)"]),
    ({"loop_lag_p99_ms": 51.0}, Validity.INVALID, ["the event loop was held up (lag p99 51.0 ms)"]),
    ({"cpu_share": 0.9}, Validity.SUSPECT, ["its CPU was busy (share 0.90)"]),
    ({"cpu_share": 0.98}, Validity.INVALID, ["its CPU was busy (share 0.98)"]),
    ({"achieved_rps": 94.0}, Validity.INVALID, ["sent only 94% of the rate asked for"]),
    ({"gc_share": 0.03}, Validity.SUSPECT, ["its collector paused it 3.0% of the time"]),
    ({"open_files": 1000}, Validity.SUSPECT, ["98% of its file descriptors were in use"]),
    ({"ports": 90, "ports_limit": 100}, Validity.SUSPECT, ["90% of the machine's local ports were in use"]),
    (
        {"cpu_share": 0.9, "loop_lag_p99_ms": 51.0},
        Validity.INVALID,
        ["the event loop was held up (lag p99 51.0 ms)", "its CPU was busy (share 0.90)"],
    ),
]


@pytest.mark.parametrize(("changes", "validity", "reasons"), CASES)
def test_every_sign_of_a_generator_at_its_limit_is_a_reason(changes, validity, reasons):
    found = judge(replace(WELL, **changes), HealthLimits(), failed={}, ceiling_rps=None)
    assert found == (validity, [f"generator: {reason}" for reason in reasons])


def test_a_rate_too_near_to_the_ceiling_and_ports_that_ran_out_are_reasons():
    assert judge(WELL, HealthLimits(), failed={}, ceiling_rps=110.0) == (
        Validity.INVALID,
        ["generator: ran at 91% of its own calibrated ceiling (110/s)"],
    )
    assert judge(WELL, HealthLimits(), failed={"local": 3}, ceiling_rps=None) == (
        Validity.INVALID,
        ["generator: out of ports or descriptors 3 times"],
    )
    assert judge(WELL, HealthLimits(), failed={"http_5xx": 3, "timeout_total": 9}, ceiling_rps=None)[0] == "valid"


def test_what_is_not_known_is_no_reason():
    nothing = Health(None, None, None, None, None, None, None, 0, None, None)
    assert judge(nothing, HealthLimits(), failed={}, ceiling_rps=1.0) == (Validity.VALID, [])


def test_the_plan_and_the_leg_have_the_same_limits():
    assert HealthLimits(**PlanLimits().model_dump()) == HealthLimits()


# --- really


async def starve(pid: int, folder: str) -> None:
    """Stop the worker for half a second, again and again, as a machine does that is out of CPU."""
    for _ in range(12_000):
        if list(Path(folder).glob("part-*.parquet")):
            break
        await asyncio.sleep(0.01)
    for _ in range(2):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_starved_open_loop_is_invalid(sim, leg_spec, workers):
    spec = leg_spec(sim.url, loop="open", rate_rps=100.0, duration_s=2.5, health=WIDE, flush_s=0.05)
    crew = Processes()
    async with Fleet(workers, home=crew) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await starve(crew.have(workers, "")[-1].hello.pid, spec.folder)
        leg = await task
    assert (leg.validity, leg.ok, leg.lost) == ("invalid", 250, 0)
    assert any(reason.startswith("generator: requests left late") for reason in leg.reasons)
    assert leg.health.schedule_lag_max_ms > 400


async def test_a_starved_closed_loop_is_invalid(sim, leg_spec):
    sim.configure(slots=0, service_ms=10.0)
    spec = leg_spec(sim.url, level=2, requests=300, health=WIDE, flush_s=0.05)
    crew = Processes()
    async with Fleet(1, home=crew) as fleet:
        task = asyncio.create_task(fleet.run(spec))
        await starve(crew.have(1, "")[0].hello.pid, spec.folder)
        leg = await task
    assert (leg.validity, leg.ok) == ("invalid", 300)
    assert any(reason.startswith("generator: the event loop was held up") for reason in leg.reasons)


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_slow_target_is_valid_however_slow(sim, leg_spec, loop):
    sim.configure(slots=1, service_ms=50.0)  # the last ones wait for longer than any limit
    changes = {"level": 30, "requests": 5} if loop == "closed" else {"rate_rps": 80.0, "duration_s": 0.5}
    limits = replace(
        WIDE,
        suspect_lag_p99_ms=1000.0,
        invalid_lag_p99_ms=1000.0,
        suspect_loop_lag_p99_ms=1000.0,
        invalid_loop_lag_p99_ms=1000.0,
    )
    leg = run(leg_spec(sim.url, loop=loop, health=limits, **changes))
    assert (leg.validity, leg.reasons, leg.ok) == (Validity.VALID, [], leg.measured)
