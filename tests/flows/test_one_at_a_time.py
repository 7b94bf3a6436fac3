"""Two benchmarks of one machine, or of one target, never overlap: the lock, and the slots under a lease."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

from flows.lock import HostLock, holder, minutes, only_one
from flows.slots import LABEL, Slots, slot_names, target_slots
from storage.errors import Busy

ME = uuid4()


def refused(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://prefect.example/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code, request=request))


class Server:
    """What of a Prefect server concerns slots: limits of one, each with the lease that holds it."""

    def __init__(self, *limits: str) -> None:
        self.held: dict[str, UUID | None] = dict.fromkeys(limits)
        self.away = False
        self.runs: list[Any] = []
        self.labels: dict[UUID, dict[str, str]] = {}

    def _here(self) -> None:
        if self.away:
            raise httpx.ConnectError("no server")

    async def read_global_concurrency_limit_by_name(self, name: str) -> None:
        self._here()
        if name not in self.held:
            raise ObjectNotFound(refused(404))

    async def create_global_concurrency_limit(self, limit: Any) -> None:
        assert limit.limit == 1
        self.held[limit.name] = None

    async def increment_concurrency_slots_with_lease(self, names, slots, mode, lease_s, holder) -> httpx.Response:
        self._here()
        assert (slots, mode, lease_s) == (1, "concurrency", 60.0)
        if any(self.held[name] is not None for name in names):
            raise refused(423)
        lease = uuid4()
        self.held.update(dict.fromkeys(names, lease))
        return httpx.Response(200, json={"lease_id": str(lease), "limits": []})

    async def renew_concurrency_lease(self, lease: UUID, lease_s: float) -> None:
        self._here()
        if lease not in self.held.values():
            raise refused(410)

    async def release_concurrency_slots_with_lease(self, lease: UUID) -> None:
        self._here()
        self.held = {name: None if held == lease else held for name, held in self.held.items()}

    async def read_flow_runs(self, **_: Any) -> list[Any]:
        return self.runs

    async def update_flow_run_labels(self, run: UUID, labels: dict[str, str]) -> None:
        self.labels[run] = labels


@pytest.fixture
async def lock(tmp_path: Path):
    async with only_one(tmp_path, "sweep a", lambda text: None, 0) as held:
        yield held


async def no_time(seconds: float) -> None:
    await asyncio.sleep(0)


# --- the machine


async def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path):
    said: list[str] = []
    order: list[str] = []
    inside, leave = asyncio.Event(), asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        leave.set()

    async def first() -> None:
        async with only_one(tmp_path, "nightly gw", said.append, 60) as lock:
            lock.tell(run="20261124T033000Z-nightly-4f3a")
            inside.set()
            await leave.wait()
            order.append("first ends")

    async def second() -> None:
        await inside.wait()
        async with only_one(tmp_path, "sweep gw", say, 7200, no_time):
            order.append("second begins")

    await asyncio.wait_for(asyncio.gather(first(), second()), 20)
    assert order == ["first ends", "second begins"]
    (line,) = said
    assert line.startswith("waiting for nightly gw (20261124T033000Z-nightly-4f3a, process ")
    assert line.endswith(" UTC), which measures on this machine; 120 min at most")


async def test_who_has_waited_long_enough_ends_with_one_sentence(tmp_path):
    async with only_one(tmp_path, "nightly gw", print, 60):
        with pytest.raises(Busy, match=r"nightly gw \(process \d+, since .* still measures .* after 90 s of waiting"):
            async with only_one(tmp_path, "sweep gw", lambda text: None, 90, no_time):
                raise AssertionError("both measure")
    assert Busy.exit_code == 16


async def test_what_a_dead_holder_said_is_there_for_the_next_and_what_an_orderly_one_said_is_not(tmp_path):
    (tmp_path / "bench.lock").write_text(json.dumps({"who": "nightly gw", "pid": 1, "lease": "7"}))
    async with only_one(tmp_path, "sweep gw", print, 0) as lock:
        assert lock.left == {"who": "nightly gw", "pid": 1, "lease": "7"}
        lock.tell(lease="8")
        lock.tell(lease=None)
    assert (tmp_path / "bench.lock").read_text() == ""


async def test_a_lease_that_could_not_be_given_back_stays_for_the_next_holder(tmp_path):
    async with only_one(tmp_path, "sweep gw", print, 0) as lock:
        lock.tell(lease="8")
    async with only_one(tmp_path, "sweep gw", print, 0) as lock:
        assert lock.left == {"lease": "8"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "another run"),
        ({"who": "sweep gw", "pid": 7, "since": "2026-11-24T03:30:00.000+00:00"},
         "sweep gw (process 7, since 03:30:00 UTC)"),
    ],
)  # fmt: skip
def test_a_holder_in_words(facts, words):
    assert holder(facts) == words
    assert (minutes(90), minutes(3600)) == ("90 s", "60 min")


# --- the targets


def test_every_target_has_a_limit_of_its_own_and_loopback_is_this_machine_s(make):
    plan = make(
        targets=[
            {"name": "a", "url": "https://gw.example.org/v1", "model": "m"},
            {"name": "b", "url": "http://127.0.0.1:4000/v1", "model": "m"},
            {"name": "c", "url": "http://localhost:4000/v1", "model": "other"},
        ],
        control={"url": "http://10.0.0.7/v1"},
    )
    assert slot_names(plan, "Bench1") == ["bench-10.0.0.7-80", "bench-bench1-4000", "bench-gw.example.org-443"]


async def test_a_missing_limit_is_made_and_held_under_one_lease_that_is_given_back(lock):
    server = Server("bench-a-1")
    async with target_slots(server, ["bench-a-1", "bench-b-2"], lock, ME, print, 0) as slots:
        held = set(server.held.values())
        assert len(held) == 1 and None not in held
        assert server.labels == {ME: {LABEL: "bench-a-1,bench-b-2"}}
        slots.check()
    assert server.held == {"bench-a-1": None, "bench-b-2": None}


async def test_the_second_run_waits_for_the_first_by_its_name_and_gives_up_in_time(lock):
    server = Server("bench-a-1")
    server.held["bench-a-1"] = uuid4()
    server.runs = [SimpleNamespace(name="nightly x", labels={}),
                   SimpleNamespace(name="sweep gw", labels={LABEL: "bench-0-0,bench-a-1"})]  # fmt: skip
    said: list[str] = []
    with pytest.raises(Busy, match=r"flow run 'sweep gw' still measures the same target \(bench-a-1\) after 0 s"):
        await Slots(server, ["bench-a-1"], lock, ME).acquire(said.append, 0)
    assert said == ["waiting for flow run 'sweep gw', which measures the same target; 0 s at most"]


async def test_a_slot_that_nobody_frees_is_told_with_the_command_that_does(lock):
    server = Server("bench-a-1")
    server.held["bench-a-1"] = uuid4()
    said: list[str] = []
    with pytest.raises(Busy, match=r"nobody measures the target, .* \(bench-a-1\) .* --active-slots 0` frees it"):
        await Slots(server, ["bench-a-1"], lock, ME).acquire(said.append, 0)
    assert said == ["waiting for a run that is gone, whose slot is free within two minutes; 0 s at most"]


async def test_what_a_dead_run_of_this_machine_held_is_free_at_once(tmp_path):
    server, dead = Server("bench-a-1"), uuid4()
    server.held["bench-a-1"] = dead
    (tmp_path / "bench.lock").write_text(json.dumps({"who": "sweep gw", "lease": str(dead)}))
    said: list[str] = []
    async with (
        only_one(tmp_path, "sweep gw", said.append, 0) as lock,
        target_slots(server, ["bench-a-1"], lock, None, said.append, 0),
    ):
        assert server.held["bench-a-1"] not in (None, dead)
    assert said == []


async def test_a_server_that_was_away_is_no_loss_as_long_as_nobody_came_between(lock):
    server = Server("bench-a-1")
    slots = Slots(server, ["bench-a-1"], lock, ME)
    await slots.acquire(print, 0)
    server.away = True
    with pytest.raises(httpx.ConnectError):
        await slots.renew()
    slots.check()
    server.away = False
    server.held["bench-a-1"] = None  # the lease ran out meanwhile
    await slots.renew()
    assert server.held["bench-a-1"] is not None
    slots.check()


async def test_a_target_that_somebody_else_has_meanwhile_ends_the_measuring(lock):
    server = Server("bench-a-1")
    slots = Slots(server, ["bench-a-1"], lock, ME)
    await slots.acquire(print, 0)
    server.held["bench-a-1"] = uuid4()
    await slots.renew()
    with pytest.raises(Busy, match="took the target"):
        slots.check()


async def test_a_lease_that_the_server_cannot_take_back_is_left_to_the_next_run_here(lock: HostLock):
    server = Server("bench-a-1")
    slots = Slots(server, ["bench-a-1"], lock, ME)
    await slots.acquire(print, 0)
    lease = server.held["bench-a-1"]
    server.away = True
    await slots.give_back()
    assert lock._facts["lease"] == str(lease)
