"""The whole line: workload, calibration, replay, sweep, estimates, verdict, report, alert. A flow is a part of it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from prefect import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Completed

from config.plan import PlanError
from config.settings import Settings
from flows.aftermath import make_readable, settle
from flows.bar import AWAY
from flows.earlier import ORDER, earlier_try, to_resume, why_not
from flows.ground import PROBED, check_hosts, probe_all
from flows.hush import hush
from flows.instruments import instruments
from flows.legs import Legs
from flows.listen import BEGUN, say
from flows.opening import Begun, begin, go_on
from flows.order import Order, order_from
from flows.outcome import Outcome, exit_code
from flows.pairing import side_by_side
from flows.refused import refused
from flows.seeking import seek, widen
from flows.slots import alone
from flows.specs import Setting, load_spec, paired_specs, plan_digest, replay_spec, streams, sweep_specs
from storage.errors import GatebenchError, StorageError
from storage.records import Attempt, Run, RunStatus, Series, Sustained, Word
from storage.reserve import Reserve
from storage.store import Book, wall_clock
from tasks.alert import alert, change_words
from tasks.characterise import part
from tasks.charts.words import count
from tasks.fidelity import fidelity
from tasks.forget import forget
from tasks.judge import Judged, judge_tonight, segments
from tasks.load.spec import LegSpec
from tasks.publish import publish, report, view_of
from tasks.remember import entered_words, remember
from tasks.report.headline import headline
from tasks.summarise import summarise


async def run_line(order: Order, earlier: Run | None = None) -> State[Any]:
    """Measure what was ordered. A verdict is a completed run named after it; no verdict is a failed one.

    The state's data is an Outcome, as a dict. Cancelling keeps what is on disk and marks the run. `earlier`: a run that
    ended before its time, which goes on; so does, without it, one that this Prefect run has begun before.
    """
    hush()
    settings = Settings()
    book = Book(settings.book_path, settings.book_wait_s)
    try:
        earlier = await _begun_before(book, settings) if earlier is None else earlier
        if earlier is None:
            order = replace(order, plan=order.plan.here(settings.timeouts))
        else:
            order = order_from(earlier.environment[ORDER], earlier.plan)
        check_hosts(order.plan, settings)
        known = PROBED.get()
        headers = await probe_all(order.plan) if known is None else known
        async with alone(order, settings, say) as held:
            again = None if earlier is None else earlier.run_id
            for ended in await asyncio.to_thread(
                settle, settings, lambda pid: False, goes_on=again
            ):  # we have the lock
                say(f"run {ended} was interrupted; its rows are kept: gatebench show {ended}")
            if earlier is None:
                begun = await begin(order, settings, book, headers, flow_run.id)
            else:
                still = to_resume(earlier.run_id, book, settings)  # while we waited, somebody else may have done it
                begun = await go_on(still, settings, book, flow_run.id)
            held.lock.tell(run=begun.run.run_id)
            outcome = await _Night(order, settings, book, begun, held.check).run()
    except (GatebenchError, PlanError) as error:
        return refused(error)
    return Completed(
        name=outcome.verdict.capitalize() if outcome.verdict else "Measured" if outcome.trusted else "Invalid",
        message=outcome.headline[:1000],
        data={name: getattr(outcome, name) for name in Outcome.__slots__},
    )


async def _begun_before(book: Book, settings: Settings) -> Run | None:
    """The run that this Prefect run has begun in an earlier try, if it can go on."""
    found = earlier_try(await asyncio.to_thread(book.runs, 200), flow_run.id)
    reason = None if found is None else why_not(found, settings)
    if found is not None and reason is not None:
        say(f"run {found.run_id} cannot go on, a new one begins: {reason}")
    return found if reason is None else None


class _Night:
    """One run, from its first leg to its last line in the book. `check` raises before a leg that must not begin."""

    def __init__(self, order: Order, settings: Settings, book: Book, begun: Begun, check: Callable[[], None]) -> None:
        self.order = order
        self.plan = order.plan
        self.settings = settings
        self.book = book
        self.begun = begun
        self.check = check
        self.files = begun.files
        self.run_id = begun.run.run_id
        self.reserve = Reserve(begun.files.folder)
        self.sustained: list[Sustained] = []
        BEGUN.get().append(self.run_id)

    async def run(self) -> Outcome:
        self.reserve.take()
        try:
            return await self._measured(self.begun.run)
        except (asyncio.CancelledError, KeyboardInterrupt, TerminationSignal):  # the latter two: between two awaits
            late = overdue()
            ended = (
                (RunStatus.CANCELLED, None, 130, self._so_far()) if late is None else (RunStatus.FAILED, None, 15, late)
            )
            with contextlib.suppress(
                GatebenchError
            ):  # a book that cannot be had hides nothing; the next run marks this
                self._close(*ended)
                make_readable(self.run_id, self.settings)
            raise
        except BaseException as error:
            code = error.exit_code if isinstance(error, GatebenchError) else 1
            with contextlib.suppress(GatebenchError):
                self._close(RunStatus.FAILED, None, code, str(error) or type(error).__name__)
                await alert(self.run_id, self.plan)
            raise
        finally:
            self.reserve.give_up()

    def _so_far(self) -> str:
        whole = [leg for leg in self.files.legs() if leg.series != Series.CALIBRATION and leg.stopped is None]
        return f"{count(len(whole), 'leg')} measured; gatebench resume {self.run_id} measures the rest"

    # --- measuring

    async def _measured(self, run: Run) -> Outcome:
        async with instruments(self.order, self.settings, self.begun) as (setting, null):
            streamed = self._streamed(setting)
            closed, aside = self.begun.closed, self.begun.rows_aside
            self.legs = Legs(
                setting, self.files, self.book, streamed, closed=closed, rows_aside=aside, check=self.check
            )
            load = None if self.order.load is None else self.order.load.stream
            swept = self.plan.sweep.stream if self.order.sweep or self.order.ceiling else None
            await self.legs.calibrate(null, streams(swept, load, streamed))
            specs = self._specs(setting)
            await self.legs.run(specs)
            if self.order.sweep and not self.order.compare:
                await widen(self.legs, self.book)
            await summarise(self.plan, self.run_id)
            for found in await fidelity(self.run_id, self.begun.workload, self.begun.likeness):
                if found["about"] == "replay":
                    say(found["title"])
            if specs:
                self.legs.refuse_nothing()
            judged = await self._judge(setting, run)
            if self.order.ceiling:
                self.sustained = await seek(self.legs, self.book)
        return await self._tell(run, judged)

    def _streamed(self, setting: Setting) -> float | None:
        """Share of streams in what is replayed; None without a replay."""
        if not self.order.replay:
            return None
        column = pl.read_parquet(self._played(setting), columns=["stream"])["stream"]
        return float(column.sum()) / len(column) if len(column) else None

    def _specs(self, setting: Setting) -> list[LegSpec]:
        specs: list[LegSpec] = []
        if self.order.replay:
            specs += [self._replay(setting, target.name, Attempt.FIRST) for target in self.plan.targets]
        if self.order.load is not None:
            specs += [load_spec(setting, target, self.order.load) for target in self.plan.targets]
        if self.order.sweep:
            specs += paired_specs(setting) if self.order.compare else sweep_specs(setting)
        return specs

    def _replay(self, setting: Setting, name: str, attempt: str) -> LegSpec:
        target = next(t for t in self.plan.targets if t.name == name)
        return replay_spec(setting, target, str(self._played(setting).resolve()), attempt)

    def _played(self, setting: Setting) -> Path:
        return part(Path(setting.workload), self.plan.replay.window, self.files.folder / "replayed.parquet")

    # --- judging and telling

    async def _judge(self, setting: Setting, run: Run) -> Judged | None:
        if self.order.compare:
            return await side_by_side(self.legs)
        if not self.order.judge:
            return None
        digests = {
            (target.name, series.value): plan_digest(self.plan, target, series)
            for target in self.plan.targets
            for series in (Series.SWEEP, Series.REPLAY)
        }
        assert run.fingerprint is not None
        found = segments(digests, self.run_id, self.begun.workload_id, run.fingerprint, self.book)
        judged = await judge_tonight(self.plan, self.run_id, found, False)
        if judged.candidates and self.plan.judge.confirm and self.legs.stopped() is None:
            again = self._confirming(setting, judged)
            where = ", ".join(f"{t} at {', '.join(map(str, levels))}" for t, levels in judged.candidates)
            say(f"something may have moved ({where}); measuring it once more")
            await self.legs.run(again)
            await summarise(self.plan, self.run_id)
            judged = await judge_tonight(self.plan, self.run_id, found, True)
        if self.legs.stopped() is None:
            kept = await remember(self.run_id, found, judged)
            if kept.entered:
                say(entered_words(kept.entered, found))
            for change in kept.changes:
                say(change_words(change))
        return judged

    def _confirming(self, setting: Setting, judged: Judged) -> list[LegSpec]:
        cells = [(target, level) for target, levels in judged.candidates for level in levels]
        specs = [self._replay(setting, t, Attempt.CONFIRM) for t, level in cells if level == 0 and self.order.replay]
        levels = [(t, level) for t, level in cells if level > 0]
        return specs + (sweep_specs(setting, levels, Attempt.CONFIRM) if levels else [])

    async def _tell(self, run: Run, judged: Judged | None) -> Outcome:
        results = await asyncio.to_thread(self.book.slo_results, self.run_id)
        stopped = self.legs.stopped()
        verdict = judged.verdict if judged is not None else None
        ours = not self.order.judge and any(found.limited_by == "generator" for found in self.sustained)
        code = exit_code(
            verdict,
            slo_broken=any(result.ok is False for result in results),
            stopped=stopped is not None,
            invalid=ours or any(leg.validity == Word.INVALID for leg in self.legs.mine),
            nothing=any(result.ok is None for result in results),
        )
        reason = stopped
        if reason is None and judged is not None and verdict == Word.INCONCLUSIVE:
            reason = next((v.reason for v in judged.verdicts if v.verdict == Word.INCONCLUSIVE), None)
        await asyncio.to_thread(self._close, RunStatus.COMPLETED, verdict, code, reason, str(self.files.report))
        page = await report(self.run_id)
        for delivery in await alert(self.run_id, self.plan):
            say(f"alert to {delivery.channel}: {'sent' if delivery.ok else f'failed, {delivery.error}'}")
        try:
            await publish(self.run_id)
        except AWAY as error:  # the verdict stands, and is told, whether or not there is a page for it
            say(f"the run's page in Prefect could not be written: {type(error).__name__}")
        text = headline(await asyncio.to_thread(view_of, self.run_id, self.settings))
        for said in (text, f"report: {page}", *await forget()):
            say(said)
        return Outcome(self.run_id, self.order.flow, verdict, code, text, page, str(self.settings.home_path))

    def _close(self, status: str, verdict: str | None, code: int, reason: str | None, page: str | None = None) -> None:
        """Raises StorageError where there is no room even with what was held in reserve for this."""
        facts = {"status": status, "verdict": verdict, "exit_code": code, "reason": reason, "report": page}
        try:
            self._write_end(facts)
        except StorageError:
            if not self.reserve.give_up():
                raise
            self._write_end(facts)

    def _write_end(self, facts: dict[str, Any]) -> None:
        self.files.write_run(self.book.finish_run(self.run_id, ended_at=wall_clock(), **facts))


def overdue() -> str | None:
    """Why Prefect ends this flow, where that is for its time being up; None: somebody else ends it."""
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow.timeout_seconds is None:
        return None
    limit = context.flow.timeout_seconds
    if (datetime.now(UTC) - context.start_time).total_seconds() < limit:
        return None
    return f"it took longer than the {limit / 3600:g} h that a run may take"
