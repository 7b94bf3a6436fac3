"""A month of nights against a simulated gateway, end to end: `python tests/bench/nights.py [--plan-set A.B=C …]`.

The real nightly, its own Prefect server, load workers, control and webhook. Ten nights in which nothing changes must
raise nothing; a tail slower by 10 % the night after must be regressed, confirmed in a second measurement, and told
once; accepted, it must stay quiet; a further slowdown must be told once, and its fix once. Prints a line a night and
the marks; exit code 1 when one is missed. About twelve minutes on a machine that does nothing else; on a busy one,
`--service-ms 800` drowns what it does to the times.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import cli_common as common
from storage.records import Attempt
from storage.store import Book
from tasks.simulator.model import Distribution, SimConfig
from tests.fakes.receivers import Receiver

PLAN = """
name = "nights"
[[targets]]
name = "gw"
url = "URL"
model = "m"
[sweep]
levels = [10, 40]
requests = 500
blocks = 5
stream = false
[replay]
enabled = false
[control]
service_ms = CONTROL
"""
SLOW_SHARE = 0.2  # of requests, all of which take the same otherwise: p95 and p99 are among them, p50 is not


@dataclass(frozen=True, slots=True)
class Night:
    what: str
    verdict: str | None
    looked_again: bool
    messages: int  # told this night
    worst: str  # the largest change that was judged


@dataclass(slots=True)
class Story:
    nights: list[Night] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def mark(self, name: str, kept: bool) -> None:
        print(f"  {name}: {'kept' if kept else 'MISSED'}", flush=True)
        if not kept:
            self.missed.append(name)


class House:
    """The simulator, the book and the webhook of the story."""

    def __init__(self, simulator: Any, book: Book, plan: Path, changes: Sequence[str], told: list[Any]) -> None:
        self.simulator = simulator
        self.book = book
        self.plan = plan
        self.changes = list(changes)
        self.told = told
        self.run_id = ""

    def tail(self, d: float) -> None:
        """p95 and p99 slower by d, p50 as it was."""
        faults = [f"slow:share={SLOW_SHARE},factor={1 + d}"] if d else []
        self.simulator.configure(faults=faults)

    async def night(self, what: str) -> Night:
        from flows.nightly import nightly

        before, begin = len(self.told), time.monotonic()
        flow: Any = nightly
        state = await flow(str(self.plan), "", self.changes, True, return_state=True)
        data = await state.aresult(raise_on_failure=False)
        if isinstance(data, BaseException):
            raise data
        assert "error" not in data, data["error"]
        self.run_id = data["run_id"]
        again = any(leg.attempt == Attempt.CONFIRM for leg in self.book.legs(self.run_id))
        found = Night(what, data["verdict"], again, len(self.told) - before, self._worst())
        spent = time.monotonic() - begin
        print(f"{found.what:24} {found.verdict or '':12} {'again' if again else '':6} "
              f"{found.messages or '':>2} {found.worst}  {spent:.0f} s", flush=True)  # fmt: skip
        return found

    def _worst(self) -> str:
        judged = [v for v in self.book.verdicts(self.run_id) if v.effect is not None and v.metric != "errors"]
        if not judged:
            return ""
        most = max(judged, key=lambda v: abs(v.effect or 0.0))
        return f"{most.metric} {'mean' if most.level is None else most.level} {most.effect:+.1%}"


async def story(house: House, quiet: int) -> Story:
    told = Story()

    async def nights(what: str, count: int) -> list[Night]:
        found = [await house.night(what) for _ in range(count)]
        told.nights.extend(found)
        return found

    def calm(found: Sequence[Night]) -> bool:
        return all(n.verdict in ("unchanged", "inconclusive") and not n.messages for n in found)

    told.mark(f"{quiet} quiet nights raise nothing", calm(await nights("nothing changed", quiet)))
    house.tail(0.10)
    [slower] = await nights("tail +10 %", 1)
    told.mark("tail +10 % the next night is regressed", slower.verdict == "regressed")
    seen_twice = slower.verdict == "regressed" and slower.looked_again
    told.mark("… and confirmed in a second measurement", seen_twice)
    told.mark("… and told once", slower.messages == 1)
    for incident in house.book.watch.incidents():
        house.book.watch.accept(incident.incident_id, "the bench", "meant")
    told.mark("an accepted change stays quiet, three nights", calm(await nights("tail +10 %, accepted", 3)))
    house.tail(0.35)
    worse = await nights("tail +35 %", 2)
    told.mark("a further one is regressed", worse[0].verdict == "regressed")
    told.mark("… and told once, not every night", [n.messages for n in worse] == [1, 0])
    house.tail(0.10)
    fixed = await nights("fixed: tail +10 %", 4)
    told.mark("a fix is told once", sum(n.messages for n in fixed) == 1)
    told.mark("… and nothing is open then", house.book.watch.incidents() == [])
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet-nights", type=int, default=10)
    parser.add_argument("--plan-set", action="append", default=[], metavar="A.B=C", help="as the nightly's --set")
    parser.add_argument("--service-ms", type=float, default=200.0, help="how long the simulator takes")
    asked = parser.parse_args()
    receiver = Receiver()
    os.environ["GATEBENCH_ALERT_URLS"] = receiver.url()
    with tempfile.TemporaryDirectory() as folder:
        settings = common.enter(Path(folder) / "home")
        common.quiet_prefect(settings.home_path)
        from tasks.simulator.process import SimulatorProcess

        config = SimConfig(service_ms=asked.service_ms, distribution=Distribution.CONSTANT, slots=0, seed=7)
        with SimulatorProcess(config) as simulator, common.prefect_at_hand():
            plan = Path(folder) / "nights.toml"
            text = PLAN.replace("URL", simulator.url).replace("CONTROL", f"{asked.service_ms / 4:g}")
            plan.write_text(text, encoding="utf-8")
            book = Book(settings.book_path, settings.book_wait_s)
            house = House(simulator, book, plan, asked.plan_set, receiver.got)
            told = asyncio.run(story(house, asked.quiet_nights))
    receiver.stop()
    print(f"\nmissed: {', '.join(told.missed) or 'none'}")
    return 1 if told.missed else 0


if __name__ == "__main__":
    sys.exit(main())
