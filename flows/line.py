"""The whole line: workload, calibration, replay, sweep, estimates, verdict, report, alert. A flow is a part of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from prefect import State
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.exceptions import TerminationSignal
from prefect.states import Completed, Failed

from config.load import Load
from config.plan import Plan, PlanError
from config.settings import Settings
from flows import wording
from flows.forecast import afford, forecast
from flows.ground import PROBED, alive, check_hosts, only_one, probe_all
from flows.intake import take_in
from flows.listen import progress, say
from flows.outcome import Outcome, exit_code
from flows.specs import Setting, load_spec, null_spec, plan_digest, replay_spec, streams, sweep_specs
from flows.spending import Spending
from storage.errors import GatebenchError, NothingMeasured
from storage.files import RunFiles, new_run_id
from storage.machine import environment, fingerprint
from storage.records import (
    CONTROL,
    Attempt,
    Calibration,
    Leg,
    Run,
    RunStatus,
    Series,
    Word,
    ceiling_of,
    shapes_of,
)
from storage.store import Book, wall_clock
from tasks.alert import alert
from tasks.calibrate import calibrate
from tasks.characterise import characterise, part, resolve
from tasks.fidelity import fidelity
from tasks.judge import Judged, judge_tonight, remember, segments
from tasks.load.cluster import Cluster
from tasks.load.fleet import Fleet
from tasks.load.leg import ENGINE_VERSION
from tasks.load.spec import LegSpec
from tasks.measure import FLEET, measure
from tasks.publish import publish, report, view_of
from tasks.report.headline import headline
from tasks.report.instrument import calibration_words
from tasks.simulator.model import control_config, null_config
from tasks.simulator.process import SimulatorProcess
from tasks.summarise import summarise
from tasks.workload import trace

LIBRARIES = ("prefect", "httpx", "httptools", "uvloop", "polars", "duckdb", "altair", "numpy", "scipy", "orjson")


@dataclass(frozen=True, slots=True)
class Order:
    """What a flow wants of the line."""

    flow: str
    plan: Plan
    scheduled: bool = False  # may enter the baseline by itself
    capture: bool = False
    replay: bool = False
    sweep: bool = False
    load: Load | None = None
    judge: bool = False


async def run_line(order: Order) -> State[Any]:
    """Measure what was ordered. A verdict is a completed run named after it; no verdict is a failed one.

    The state's data is an Outcome, as a dict. Cancelling keeps what is on disk and marks the run.
    """
    settings = Settings()
    order = replace(order, plan=order.plan.here(settings.timeouts))
    try:
        check_hosts(order.plan, settings)
        known = PROBED.get()
        headers = await probe_all(order.plan) if known is None else known
        async with only_one(settings.home_path, say):
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
        self.legs: list[Leg] = []
        self.done = 0
        self.total = 0
        self.likeness: list[dict[str, Any]] = []  # fidelity of the traffic that was captured before the run
        self.used_up: str | None = None  # which limit of the budget ended the run between two legs

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
            self._close(RunStatus.CANCELLED, None, 130, "cancelled")
            raise
        except BaseException as error:
            code = error.exit_code if isinstance(error, GatebenchError) else 1
            self._close(RunStatus.FAILED, None, code, str(error) or type(error).__name__)
            with contextlib.suppress(GatebenchError):
                await alert(self.run_id, self.plan)
            raise

    # --- what it measures with

    def _workload_name(self) -> str:
        """The plan's workload; a plan that captures is judged on what was pinned under its name."""
        return self.plan.workload or (self.plan.name if self.plan.capture.sources and self.order.capture else "")

    async def _capture(self) -> None:
        """New logs become a workload beside the pinned one; the first capture of a plan is pinned, later ones never."""
        if self.order.capture and self.plan.capture.sources:
            taken = await take_in(self.plan, self._workload_name(), self.book, self.settings)
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
        cost = forecast(self.plan, read.frame, sweep=order.sweep, replay=order.replay, load=order.load)
        for warning in afford(cost, self.plan.budget):
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

    @contextlib.asynccontextmanager
    async def _instruments(self, workload: str, workload_id: str) -> AsyncIterator[tuple[Setting, str]]:
        """The load worker, the null responder and the control, each in a process of its own."""
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(SimulatorProcess(null_config()))
            control: str | None = None
            if self.plan.control.enabled and not self.plan.control.url and self.order.sweep:
                control = stack.enter_context(SimulatorProcess(control_config(self.plan.control.service_ms))).url
            async with self._fleet() as fleet:
                token = FLEET.set(fleet)
                try:
                    yield (
                        Setting(
                            self.plan,
                            self.run_id,
                            self.settings.runs_path,
                            workload,
                            workload_id,
                            self.settings.flush_s,
                            control,
                            self.tokens_per_word,
                        ),
                        null.url,
                    )
                finally:
                    FLEET.reset(token)

    def _fleet(self) -> Fleet:
        address = self.settings.dask_scheduler
        return Fleet(self.plan.fleet.count, (lambda: Cluster(address)) if address else None)

    # --- measuring

    async def _measured(self, run: Run, workload: str, workload_id: str) -> Outcome:
        async with self._instruments(workload, workload_id) as (setting, null):
            self.spending = Spending(self.plan.budget, self.files)
            self.streamed = self._streamed(setting)
            self.calibrations = await self._calibrate(setting, null)
            specs = self._specs(setting)
            self.total = len(specs)
            await self._legs(specs)
            await summarise(self.plan, self.run_id)
            for found in await fidelity(self.run_id, workload, self.likeness):
                if found["about"] == "replay":
                    say(found["title"])
            self._refuse_nothing()
            judged = await self._judge(setting, run, workload_id)
        return await self._tell(run, judged)

    def _streamed(self, setting: Setting) -> float | None:
        """Share of streams in what is replayed; None without a replay."""
        if not self.order.replay:
            return None
        column = pl.read_parquet(self._played(setting), columns=["stream"])["stream"]
        return float(column.sum()) / len(column) if len(column) else None

    async def _calibrate(self, setting: Setting, null: str) -> list[Calibration]:
        """One of each shape of request that this run sends: streamed and plain, over each transport."""
        found = []
        load = None if self.order.load is None else self.order.load.stream
        for stream in streams(self.plan.sweep.stream if self.order.sweep else None, load, self.streamed):
            for transport in dict.fromkeys(target.transport for target in self.plan.targets):
                spec = null_spec(setting, null, stream=stream, transport=transport)
                calibration = await calibrate(spec, str(self.settings.runs_path))
                await asyncio.to_thread(self.book.add_calibration, self.run_id, calibration)
                found.append(calibration)
                say(f"instrument, {calibration_words(calibration)}")
        return found

    def _specs(self, setting: Setting) -> list[LegSpec]:
        specs: list[LegSpec] = []
        if self.order.replay:
            specs += [self._replay(setting, target.name, Attempt.FIRST) for target in self.plan.targets]
        if self.order.load is not None:
            specs += [load_spec(setting, target, self.order.load) for target in self.plan.targets]
        if self.order.sweep:
            specs += sweep_specs(setting)
        return specs

    def _replay(self, setting: Setting, name: str, attempt: str) -> LegSpec:
        target = next(t for t in self.plan.targets if t.name == name)
        return replay_spec(setting, target, str(self._played(setting).resolve()), attempt)

    def _played(self, setting: Setting) -> Path:
        return part(Path(setting.workload), self.plan.replay.window, self.files.folder / "replayed.parquet")

    async def _legs(self, specs: Sequence[LegSpec]) -> None:
        """One leg after the other; a budget or the breaker ends the run's measuring, not the run."""
        artifact = await acreate_progress_artifact(0.0, key="gatebench-progress", description=f"Legs of {self.run_id}")
        for spec in specs:
            if self._stopped() is not None:
                return
            self.used_up = self.spending.used_up()
            if self.used_up is not None:
                say(f"{self.used_up}: {self.total - self.done} of {self.total} legs are left out")
                return
            label = _label(spec)
            streamed = self.streamed if spec.stream is None else float(spec.stream)
            shapes = shapes_of(self.calibrations, spec.target.transport, 1.0 if streamed is None else streamed)
            ready = replace(
                spec,
                ceiling_rps=ceiling_of(shapes),
                budget=self.spending.left(spec.budget) if spec.target.name != CONTROL else spec.budget,
            )
            progress(self.done, self.total, label)
            leg = await measure(label, ready)
            if len(leg.workers) > 1 and not any(len(one.workers) > 1 for one in self.legs):
                say(f"{label}: sent by {len(leg.workers)} workers: {', '.join(one.name for one in leg.workers)}")
            self.legs.append(leg)
            self.spending.add(leg, ready.budget)
            if leg.stopped == "budget" and leg.target != CONTROL:
                self.used_up = self.spending.used_up()  # says the plan's limit, the leg only what was left of it
            self.done += 1
            progress(self.done, self.total, label)
            if leg.reasons:
                say(f"{label}: {leg.validity}: {'; '.join(leg.reasons)}")
            if self.done % max(1, self.total // 10) == 0 or self.done == self.total:
                await aupdate_progress_artifact(artifact, progress=100.0 * self.done / self.total)

    def _stopped(self) -> str | None:
        """Why the run's measuring ended before its time."""
        if self.used_up is not None:
            return self.used_up
        stopped = next((leg for leg in self.legs if leg.stopped is not None and leg.target != CONTROL), None)
        return None if stopped is None else next(iter(stopped.reasons), stopped.stopped)

    def _refuse_nothing(self) -> None:
        if not any(leg.ok for leg in self.legs if leg.target != CONTROL):
            kinds: dict[str, int] = {}
            for leg in self.legs:
                for kind, n in leg.failed.items() if leg.target != CONTROL else ():
                    kinds[kind] = kinds.get(kind, 0) + n
            said = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda k: -k[1]))
            raise NothingMeasured(
                f"not one request succeeded ({said or 'none was sent'}); the rows are in {self.files.folder}"
            )

    # --- judging and telling

    async def _judge(self, setting: Setting, run: Run, workload_id: str) -> Judged | None:
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
        if judged.candidates and self.plan.judge.confirm and self._stopped() is None:
            again = self._confirming(setting, judged)
            where = ", ".join(f"{t} at {', '.join(map(str, levels))}" for t, levels in judged.candidates)
            say(f"something may have moved ({where}); measuring it once more")
            self.total += len(again)
            await self._legs(again)
            await summarise(self.plan, self.run_id)
            judged = await judge_tonight(self.plan, self.run_id, found, True)
        if self._stopped() is None and await asyncio.to_thread(
            remember, self.run_id, found, judged.verdicts, self.settings
        ):
            say(f"entered the baseline, which now holds {judged.history_n + 1} nights")
        return judged

    def _confirming(self, setting: Setting, judged: Judged) -> list[LegSpec]:
        cells = [(target, level) for target, levels in judged.candidates for level in levels]
        specs = [self._replay(setting, t, Attempt.CONFIRM) for t, level in cells if level == 0 and self.order.replay]
        levels = [(t, level) for t, level in cells if level > 0]
        return specs + (sweep_specs(setting, levels, Attempt.CONFIRM) if levels else [])

    async def _tell(self, run: Run, judged: Judged | None) -> Outcome:
        results = await asyncio.to_thread(self.book.slo_results, self.run_id)
        mine = [leg for leg in self.legs if leg.target != CONTROL]
        stopped = self._stopped()
        verdict = judged.verdict if judged is not None else None
        code = exit_code(
            verdict,
            slo_broken=any(result.ok is False for result in results),
            stopped=stopped is not None,
            invalid=any(leg.validity == Word.INVALID for leg in mine),
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
        say(text)
        say(f"report: {page}")
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


def _label(spec: LegSpec) -> str:
    again = "again: " if spec.attempt == Attempt.CONFIRM else ""
    if spec.series == Series.SWEEP:
        return f"{again}{spec.target.name}, {spec.level} concurrent, block {spec.block}"
    return f"{again}{spec.target.name}, {spec.series}"
