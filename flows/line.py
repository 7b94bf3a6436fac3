"""The whole line: workload, calibration, replay, sweep, estimates, verdict, report, alert. A flow is a part of it."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from prefect import State
from prefect.exceptions import TerminationSignal
from prefect.states import Completed, Failed

from config.plan import PlanError
from config.settings import Settings
from flows import wording
from flows.forecast import afford, forecast
from flows.ground import PROBED, alive, check_hosts, probe_all
from flows.hush import hush
from flows.instruments import instruments
from flows.intake import take_in
from flows.legs import Legs
from flows.listen import say
from flows.lock import only_one
from flows.order import Order
from flows.outcome import Outcome, exit_code
from flows.pairing import side_by_side
from flows.seeking import seek, widen
from flows.specs import Setting, load_spec, paired_specs, plan_digest, replay_spec, streams, sweep_specs
from storage.errors import GatebenchError
from storage.files import RunFiles, new_run_id
from storage.machine import environment, fingerprint
from storage.records import Attempt, Run, RunStatus, Series, Sustained, Word
from storage.store import Book, wall_clock
from tasks.alert import alert, change_words
from tasks.characterise import characterise, part, resolve
from tasks.fidelity import fidelity
from tasks.forget import forget
from tasks.judge import Judged, judge_tonight, segments
from tasks.load.leg import ENGINE_VERSION
from tasks.load.spec import LegSpec
from tasks.publish import publish, report, view_of
from tasks.remember import remember
from tasks.report.headline import headline
from tasks.summarise import summarise
from tasks.workload import trace

LIBRARIES = ("prefect", "httpx", "httptools", "uvloop", "polars", "duckdb", "altair", "numpy", "scipy", "orjson")


async def run_line(order: Order) -> State[Any]:
    """Measure what was ordered. A verdict is a completed run named after it; no verdict is a failed one.

    The state's data is an Outcome, as a dict. Cancelling keeps what is on disk and marks the run.
    """
    hush()
    settings = Settings()
    order = replace(order, plan=order.plan.here(settings.timeouts))
    try:
        check_hosts(order.plan, settings)
        known = PROBED.get()
        headers = await probe_all(order.plan) if known is None else known
        async with only_one(settings.home_path, f"{order.flow} {order.plan.name}", say, settings.run_wait_s):
            outcome = await _Night(order, settings, headers).run()
    except (GatebenchError, PlanError) as error:
        code = error.exit_code if isinstance(error, GatebenchError) else 2
        return Failed(message=str(error), data={"error": str(error), "exit_code": code})
    return Completed(
        name=outcome.verdict.capitalize() if outcome.verdict else "Measured",
        message=outcome.headline[:1000],
        data={name: getattr(outcome, name) for name in Outcome.__slots__},
    )


class _Night:
    """One run, from its first line in the book to its last."""

    def __init__(self, order: Order, settings: Settings, headers: dict[str, dict[str, str]]) -> None:
        self.order = order
        self.plan = order.plan
        self.settings = settings
        self.headers = headers
        self.book = Book(settings.book_path, settings.book_wait_s)
        self.run_id = new_run_id(order.flow, datetime.now(UTC))
        self.files = RunFiles(settings.runs_path, self.run_id)
        self.sustained: list[Sustained] = []
        self.likeness: list[dict[str, Any]] = []  # fidelity of the traffic that was captured before the run

    async def run(self) -> Outcome:
        for ended in await asyncio.to_thread(self.book.mark_interrupted, alive):
            say(f"run {ended} was interrupted; its rows are kept")
        await self._capture()
        workload = await characterise(str(resolve(self._workload_name(), self.book, self.settings.workloads_path)))
        self._afford(Path(workload.path))
        self.tokens_per_word = await self._wording(workload.workload_id)
        run = self._open(workload.workload_id, workload.path)
        await asyncio.to_thread(self.book.start_run, run)
        self.files.write_run(run)
        say(f"run {self.run_id}: {', '.join(t.name for t in self.plan.targets)}; workload of {workload.count} requests")
        try:
            return await self._measured(run, workload.path, workload.workload_id)
        except (asyncio.CancelledError, KeyboardInterrupt, TerminationSignal):  # the latter two: between two awaits
            with contextlib.suppress(GatebenchError):  # a book that cannot be had hides nothing
                self._close(RunStatus.CANCELLED, None, 130, "cancelled")
            raise
        except BaseException as error:
            code = error.exit_code if isinstance(error, GatebenchError) else 1
            with contextlib.suppress(GatebenchError):
                self._close(RunStatus.FAILED, None, code, str(error) or type(error).__name__)
                await alert(self.run_id, self.plan)
            raise

    # --- what it measures with

    def _workload_name(self) -> str:
        """The plan's workload; a plan that captures is judged on what was pinned under its name."""
        return self.plan.workload or (self.plan.name if self.plan.capture.sources and self.order.capture else "")

    async def _capture(self) -> None:
        """New logs become a workload beside the pinned one; the first capture of a plan is pinned, later ones never."""
        if self.order.capture and self.plan.capture.sources:
            taken = await take_in(self.plan, self._workload_name(), self.book, self.settings.workloads_path)
            self.likeness = taken.reports

    async def _wording(self, workload_id: str) -> float:
        """Tokens a word: as in earlier runs of this plan and workload, else as a target counts them now."""
        now = await wording.tokens_per_word(self.plan)
        runs = await asyncio.to_thread(self.book.runs, 200)
        before = wording.kept(runs, self.plan.name, workload_id)
        if before is not None and now is not None and now != before:
            say(f"a word of our prompts is {now:g} tokens by the target's count and was {before:g}: another tokenizer?")
        if before is None and now is None:
            say("no target tells its token counts: prompts are as long as one token a word makes them")
        return next((value for value in (before, now) if value is not None), 1.0)

    def _afford(self, workload: Path) -> None:
        """Raises StoppedEarly for a run that plainly costs more than its budget."""
        read = trace.read(workload)
        if self.order.replay and self.plan.replay.window:
            read = trace.window(read, self.plan.replay.window)
        order = self.order
        parts = {"sweep": order.sweep, "replay": order.replay, "ceiling": order.ceiling}
        cost = forecast(self.plan, read.frame, load=order.load, **parts)
        warnings = afford(cost, self.plan.budget)
        if PROBED.get() is None:  # the command line has said them already
            for warning in warnings:
                say(warning)

    def _open(self, workload_id: str, workload_path: str) -> Run:
        facts = environment(home=self.settings.home_path, packages=LIBRARIES, engine_version=ENGINE_VERSION)
        facts |= {
            "workload_path": workload_path,
            "target_headers": self.headers,
            "samples_path": str(self.files.folder),
            wording.KEY: self.tokens_per_word,
        }
        return Run(
            run_id=self.run_id,
            flow=self.order.flow,
            plan_name=self.plan.name,
            status=RunStatus.RUNNING,
            scheduled=self.order.scheduled,
            started_at=wall_clock(),
            ended_at=None,
            verdict=None,
            exit_code=None,
            reason=None,
            workload_id=workload_id,
            seed=self.plan.seed,
            fingerprint=fingerprint(facts),
            plan=self.plan.model_dump(mode="json"),
            environment=facts,
            path=str(self.files.folder),
        )

    # --- measuring

    async def _measured(self, run: Run, workload: str, workload_id: str) -> Outcome:
        async with instruments(self.order, self.settings, self.files, workload, workload_id, self.tokens_per_word) as (
            setting,
            null,
        ):
            streamed = self._streamed(setting)
            self.legs = Legs(setting, self.files, self.book, streamed)
            load = None if self.order.load is None else self.order.load.stream
            swept = self.plan.sweep.stream if self.order.sweep or self.order.ceiling else None
            await self.legs.calibrate(null, streams(swept, load, streamed))
            specs = self._specs(setting)
            await self.legs.run(specs)
            if self.order.sweep and not self.order.compare:
                await widen(self.legs, self.book)
            await summarise(self.plan, self.run_id)
            for found in await fidelity(self.run_id, workload, self.likeness):
                if found["about"] == "replay":
                    say(found["title"])
            if specs:
                self.legs.refuse_nothing()
            judged = await self._judge(setting, run, workload_id)
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

    async def _judge(self, setting: Setting, run: Run, workload_id: str) -> Judged | None:
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
        found = segments(digests, self.run_id, workload_id, run.fingerprint, self.book)
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
                say(f"entered the baseline, which now holds {judged.history_n + 1} nights")
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
        await publish(self.run_id)
        for delivery in await alert(self.run_id, self.plan):
            say(f"alert to {delivery.channel}: {'sent' if delivery.ok else f'failed, {delivery.error}'}")
        text = headline(await asyncio.to_thread(view_of, self.run_id, self.settings))
        for said in (text, f"report: {page}", *await forget()):
            say(said)
        return Outcome(self.run_id, self.order.flow, verdict, code, text, page, str(self.settings.home_path))

    def _close(self, status: str, verdict: str | None, code: int, reason: str | None, page: str | None = None) -> None:
        run = self.book.finish_run(
            self.run_id,
            status=status,
            ended_at=wall_clock(),
            verdict=verdict,
            exit_code=code,
            reason=reason,
            report=page,
        )
        self.files.write_run(run)
