"""Slots, queue and holds, against the simulator's own account of them."""

import itertools
import threading
import time

from tasks.simulator.draws import Draws
from tasks.simulator.model import SimConfig


def drive(client_of, url, users, seconds, **extra):
    """Closed loop; (answers a second between the first and the last quarter of the time, statuses)."""
    ends, end_at = [], time.perf_counter() + seconds

    def user():
        client = client_of(url)
        while time.perf_counter() < end_at:
            status = client.ask(**extra).status_code
            ends.append((time.perf_counter(), status))
        client.http.close()

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    low, high = end_at - seconds * 0.75, end_at
    inside = [at for at, _ in ends if low <= at < high]
    return len(inside) / (high - low), [status for _, status in ends]


def test_slots_are_the_limit_and_the_stated_capacity_is_the_real_one(client_of, sim):
    off = 1.0
    for _ in range(3):
        sim.configure(slots=4, service_ms=40.0)
        sim.reset()
        rate, _ = drive(client_of, sim.url, users=16, seconds=2.0)
        stats = sim.stats()
        assert stats["peak_in_flight"] == 4
        assert stats["mean_hold_ms"] >= 40.0
        off = abs(rate / stats["capacity_rps"] - 1)
        if off <= 0.05:
            break
    assert off <= 0.05


def test_without_a_limit_everybody_is_served_together(client_of, sim):
    sim.configure(slots=0, service_ms=500.0)
    drive(client_of, sim.url, users=10, seconds=2.0)
    stats = sim.stats()
    assert stats["peak_in_flight"] > 4
    assert (stats["capacity_rps"], stats["slots"]) == (None, 0)


def test_a_full_queue_answers_429(client, sim, eventually):
    sim.configure(slots=1, queue_limit=1, service_ms=300.0)
    with client.open() as first, client.open() as second:
        eventually(lambda: sim.stats()["queued"] == 1)
        response = client.ask()
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
        assert second.recv(65536).startswith(b"HTTP/1.1 200")
    assert sim.stats()["failed"] == {"queue_full": 1}


def test_a_client_that_goes_away_frees_its_slot_and_its_place(client, sim, eventually):
    sim.configure(slots=1, service_ms=3_600_000.0)
    holder, waiter = client.open(stream=True), client.open()
    eventually(lambda: (sim.stats()["in_flight"], sim.stats()["queued"]) == (1, 1))
    waiter.close()
    eventually(lambda: sim.stats()["queued"] == 0)
    holder.close()
    eventually(lambda: sim.stats()["in_flight"] == 0)
    sim.configure(service_ms=1.0)
    assert client.ask().status_code == 200
    stats = sim.stats()
    assert (stats["requests"], stats["ok"], stats["failed"], stats["holds"]) == (3, 1, {"disconnected": 2}, 1)


def test_a_stream_holds_its_slot_to_its_end(client, sim):
    sim.configure(first_token_ms=20.0, per_token_ms=5.0)
    for _ in range(5):
        client.ask(stream=True, max_tokens=9)
    assert min(sim.stats()[key] for key in ("p50_hold_ms", "mean_hold_ms")) >= 60


def test_tokens_come_at_their_times(client, sim):
    sim.configure(first_token_ms=40.0, per_token_ms=20.0)
    with client.open(stream=True, max_tokens=4) as line:
        stamps = [time.perf_counter()]
        while len(stamps) < 5:
            data = line.recv(65536)
            stamps += [time.perf_counter()] * data.count(b'"content":"')
    first, *gaps = [b - a for a, b in itertools.pairwise(stamps)]
    mean_gap = sum(gaps) / 3
    assert 1.5 < first / mean_gap < 2.5
    assert all(0.25 < gap / mean_gap < 1.75 for gap in gaps)


def test_the_realised_hold_is_what_a_lone_client_waits(client, sim):
    sim.configure(service_ms=50.0)
    client.ask()
    sim.reset()
    waits = []
    for _ in range(9):
        start = time.perf_counter()
        client.ask()
        waits.append((time.perf_counter() - start) * 1e3)
    assert 1.0 <= sorted(waits)[4] / sim.stats()["p50_hold_ms"] < 1.2


def test_a_slowdown_is_injected_while_it_runs(client, sim):
    def p50() -> float:
        sim.reset()
        for _ in range(7):
            client.ask()
        return sim.stats()["p50_hold_ms"]

    sim.configure(service_ms=30.0)
    before = p50()
    assert sim.configure(slow_factor=3.0)["slow_factor"] == 3.0
    assert 2.5 < p50() / before < 3.5


def test_holds_are_drawn_from_the_seed(client, sim):
    config = SimConfig.from_dict(sim.configure(distribution="exponential", service_ms=20.0, seed=9))
    draws, holds = Draws(config), []
    drawn = [20.0 * draws.unit() for _ in range(8)]
    for _ in drawn:
        sim.reset()
        client.ask()
        holds.append(sim.stats()["mean_hold_ms"])
    assert all(hold >= asked for hold, asked in zip(holds, drawn, strict=True))
    assert sum(holds) < 1.5 * sum(drawn)


def test_a_reset_forgets_all_but_what_is_under_way(client, sim, eventually):
    client.ask()
    sim.configure(service_ms=200.0)
    with client.open() as line:
        eventually(lambda: sim.stats()["in_flight"] == 1)
        sim.reset()
        stats = sim.stats()
        assert (stats["requests"], stats["ok"], stats["holds"], stats["mean_hold_ms"]) == (1, 0, 0, None)
        line.recv(65536)
    assert sim.stats()["ok"] == 1


def test_the_default_configuration_is_what_was_promised():
    config = SimConfig()
    assert (config.slots, config.service_ms, config.default_tokens) == (32, 40.0, 16)
