"""The measuring of one run: legs one after the other, under one budget, shown as they go."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flows.bar import Bar
from flows.listen import LISTENER, Under, say
from flows.pace import seconds_left, seconds_of
from flows.specs import Setting, null_spec, price_list
from flows.spending import Spending
from storage.errors import NothingMeasured
from storage.files import RunFiles
from storage.records import CONTROL, Attempt, Calibration, Leg, Series, ceiling_of, shapes_of
from storage.store import Book
from tasks.calibrate import calibrate
from tasks.load.spec import LegSpec
from tasks.measure import measure
from tasks.report.instrument import calibration_words

DOUBTS = 12  # told one by one, so that a run's log stays one that is read


class Legs:
    """`streamed`: share of streams among requests that are sent as they were recorded. `closed`: legs that an earlier
    try at the run has measured, which are not measured again, and `rows_aside` what it had of others; `check` raises
    before a leg that must not begin."""

    def __init__(
        self,
        setting: Setting,
        files: RunFiles,
        book: Book,
        streamed: float | None = None,
        *,
        closed: Mapping[str, Leg] = MappingProxyType({}),
        rows_aside: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.all: list[Leg] = []
        self.setting = setting
        self._files = files
        self._book = book
        self._streamed = streamed
        self._closed = closed
        self._check = check
        before = [leg for leg in closed.values() if leg.series != Series.CALIBRATION]
        self._spending = Spending(
            setting.plan.budget, files, before=before, rows_before=rows_aside, prices=price_list(setting.plan)
        )
        self._calibrations: list[Calibration] = []
        self._total = 0
        self._bar: Bar | None = None  # one a run: of measuring again, and of rates that are tried, there may be many
        self._doubted = 0
        self._used_up: str | None = None  # which limit of the budget ended the measuring between two legs

    @property
    def mine(self) -> list[Leg]:
        """Those of the targets. What looks for the ceiling is meant to find a limit, and says nothing of the run."""
        return [leg for leg in self._of_targets if leg.attempt != Attempt.PROBE]

    @property
    def _of_targets(self) -> list[Leg]:
        return [leg for leg in self.all if leg.target != CONTROL]

    async def calibrate(self, null: str, shapes: Iterable[bool]) -> None:
        """One of each shape of request that is to be sent: streamed or plain, over each transport."""
        setting = self.setting
        known = await asyncio.to_thread(self._book.calibrations, setting.run_id)
        self._calibrations += known
        for stream in shapes:
            for transport in dict.fromkeys(target.transport for target in setting.plan.targets):
                if any((c.stream, c.transport) == (stream, transport) for c in known):
                    continue  # of an earlier try at the run
                spec = null_spec(setting, null, stream=stream, transport=transport)
                calibration = await calibrate(spec, str(setting.runs_path))
                await asyncio.to_thread(self._book.add_calibration, setting.run_id, calibration)
                self._calibrations.append(calibration)
                say(f"instrument, {calibration_words(calibration)}")

    async def run(self, specs: Sequence[LegSpec]) -> None:
        """One leg after the other; a budget or the breaker ends the measuring, not the run."""
        self._total += len(specs)
        if specs and self._bar is None:
            self._bar = await Bar.begin(f"Legs of {self.setting.run_id}")
        for place, spec in enumerate(specs):
            if self.stopped() is not None or (place and self._was_too_much()):
                return
            self._used_up = self._spending.used_up()
            if self._used_up is not None:
                say(f"{self._used_up}: {self._total - len(self.all)} of {self._total} legs are left out")
                return
            await self._one(spec, specs[place:])
            done = len(self.all)
            if self._bar is not None and (done % max(1, self._total // 10) == 0 or done == self._total):
                await self._bar.show(100.0 * done / self._total)

    async def probe(self, spec: LegSpec) -> bool:
        """One leg more, of a search; False: the budget, or whatever stopped the run, leaves no room for it."""
        before = len(self.all)
        await self.run([spec])
        return len(self.all) > before

    def _was_too_much(self) -> bool:
        """The last leg looked for the ceiling, and was given up."""
        last = self.all[-1]
        return last.attempt == Attempt.PROBE and last.stopped is not None

    async def _one(self, spec: LegSpec, coming: Sequence[LegSpec]) -> None:
        if spec.leg_id in self._closed:
            self.all.append(self._closed[spec.leg_id])
            return
        self._check()
        label, ready = label_of(spec), self._ready(spec)
        LISTENER.get().begin(self._under(ready, label, coming))
        leg = await measure(label, ready)
        if len(leg.workers) > 1 and not any(len(one.workers) > 1 for one in self.all):
            say(f"{label}: sent by {len(leg.workers)} workers: {', '.join(one.name for one in leg.workers)}")
        self.all.append(leg)
        self._spending.add(leg, ready.budget)
        if leg.stopped == "budget" and leg.target != CONTROL:
            self._used_up = self._spending.used_up()  # says the plan's limit, the leg only what was left of it
        LISTENER.get().end(len(self.all), self._total)
        if leg.reasons:
            self._doubt(label, leg)

    def _doubt(self, label: str, leg: Leg) -> None:
        """The first few by name: on a machine that is busy with other things it may be every leg."""
        self._doubted += 1
        if self._doubted <= DOUBTS:
            say(f"{label}: {leg.validity}: {'; '.join(leg.reasons)}")
        elif self._doubted == DOUBTS + 1:
            say("more legs are suspect or invalid; the report names them all")

    def _under(self, spec: LegSpec, label: str, coming: Sequence[LegSpec]) -> Under:
        seconds, left_s = seconds_of(spec, self.all), seconds_left(coming, self.all)
        folder = Path(spec.folder)
        return Under(label, len(self.all) + 1, self._total, folder, spec.requests, seconds, left_s)

    def _ready(self, spec: LegSpec) -> LegSpec:
        """With its ceiling and what is left of the budget."""
        streamed = self._streamed if spec.stream is None else float(spec.stream)
        shapes = shapes_of(self._calibrations, spec.target.transport, 1.0 if streamed is None else streamed)
        left = self._spending.left(spec.budget) if spec.target.name != CONTROL else spec.budget
        return replace(spec, ceiling_rps=ceiling_of(shapes), budget=left)

    def stopped(self) -> str | None:
        """Why the measuring ended before its time."""
        if self._used_up is not None:
            return self._used_up
        stopped = next((leg for leg in self.mine if leg.stopped is not None), None)
        return None if stopped is None else next(iter(stopped.reasons), stopped.stopped)

    def refuse_nothing(self) -> None:
        """Raises NothingMeasured where not one measured request succeeded."""
        earlier = (leg for leg in self._closed.values() if leg.target != CONTROL and leg.series != Series.CALIBRATION)
        if any(leg.ok for leg in (*self._of_targets, *earlier)):
            return
        kinds: dict[str, int] = {}
        for leg in self._of_targets:
            for kind, n in leg.failed.items():
                kinds[kind] = kinds.get(kind, 0) + n
        said = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda k: -k[1]))
        why = said or self.stopped() or "none was sent"
        raise NothingMeasured(f"not one measured request succeeded ({why}); the rows are in {self._files.folder}")


def label_of(spec: LegSpec) -> str:
    again = "again: " if spec.attempt == Attempt.CONFIRM else ""
    if spec.attempt == Attempt.PROBE and spec.rate_rps is not None:
        return f"{spec.target.name}, {spec.rate_rps:,.4g}/s"
    if spec.series == Series.SWEEP:
        return f"{again}{spec.target.name}, {spec.level} concurrent, block {spec.block}"
    return f"{again}{spec.target.name}, {spec.series}"
