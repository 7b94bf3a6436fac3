"""What of a stored run goes into which export. Nothing here measures, and nothing holds a key or a prompt."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from flows.outputs import run_json
from storage.errors import NothingMeasured, UsageError
from storage.records import CONTROL, MAIN, Attempt, Leg, Phase, Series
from tasks.export.aiperf import Trial, aiperf_json
from tasks.export.openmetrics import openmetrics
from tasks.export.tables import estimates
from tasks.report.junit import junit_xml
from tasks.report.markdown import render_markdown
from tasks.report.view import RunView, estimate
from tasks.stats import metrics

TEXTS: dict[str, Callable[[RunView], str]] = {
    "json": lambda view: _text(run_json(view)),
    "junit": junit_xml,
    "openmetrics": openmetrics,
    "github-summary": lambda view: render_markdown(view, charts=False),
}
FORMATS = ("parquet", "csv", *TEXTS, "aiperf")
AIPERF_FILE = "profile_export_aiperf.json"


def table_of(view: RunView, rows: pl.LazyFrame, which: str) -> pl.LazyFrame:
    """`which`: rows or estimates. Raises UsageError, and NothingMeasured for a run without any."""
    if which == "estimates":
        found = estimates(view.run, view.cells)
    elif which == "rows":
        found = rows
    else:
        raise UsageError(f"--table {which}: write rows or estimates")
    if found.head(1).collect().is_empty():
        raise NothingMeasured(f"run {view.run.run_id} has no {which}: {view.run.reason or 'nothing was measured'}")
    return found


def trials(view: RunView, target: str | None, level: int | None) -> list[Trial]:
    """The loads of a run, the sweep's levels rising. Raises UsageError where there is none that was asked for."""
    legs = [leg for leg in view.legs if leg.attempt == Attempt.FIRST and leg.series != Series.CALIBRATION]
    places = dict.fromkeys((leg.target, leg.series, leg.level) for leg in legs if leg.target != CONTROL)
    found = [Trial(*place) for place in sorted(places)]
    chosen = [t for t in found if target in (None, t.target) and level in (None, t.level)]
    if not chosen:
        have = ", ".join(t.label for t in found)
        raise UsageError(f"run {view.run.run_id} has no such load; it has {have}" if found else _nothing(view))
    return chosen


def aiperf_text(view: RunView, trial: Trial, rows: pl.LazyFrame) -> str:
    mine = [leg for leg in view.legs if _of(leg, trial)]
    goodput = estimate(view, trial.target, trial.series, trial.level, "goodput")
    frame = requests(rows, mine)
    return _text(aiperf_json(view.run, trial, mine, frame, None if goodput is None else goodput.point))


def aiperf_files(view: RunView, found: list[Trial], rows: pl.LazyFrame, folder: Path) -> list[tuple[Path, str]]:
    """(file, text) of each load, as AIPerf lays out the runs of a sweep: a folder each."""
    return [(folder / trial.label / AIPERF_FILE, aiperf_text(view, trial, rows)) for trial in found]


def _of(leg: Leg, trial: Trial) -> bool:
    return leg.attempt == Attempt.FIRST and (leg.target, leg.series, leg.level) == (
        trial.target,
        trial.series,
        trial.level,
    )


def requests(rows: pl.LazyFrame, legs: list[Leg]) -> pl.DataFrame:
    """The measured requests of these legs, with the columns that `aiperf_json` wants."""
    mine = rows.filter(
        pl.col("leg_id").is_in([leg.leg_id for leg in legs]),
        pl.col("phase") == Phase.MEASURED.value,
        pl.col("stream_label") == MAIN,
    )
    gaps = pl.col("chunk_gaps_us").cast(pl.List(pl.Float64)) * metrics.US
    tpot = pl.when(metrics.streamed).then(metrics.tpot)
    return mine.select(
        "leg_id",
        "failure",
        "sent_ns",
        "end_ns",
        "input_tokens",
        latency=metrics.latency,
        ttft=pl.when(metrics.streamed).then(metrics.ttft),
        ttst=gaps.list.first(),
        tpot=tpot,
        gaps=gaps,
        user_rate=pl.when(tpot > 0).then(1 / tpot),  # tokens that came in one read took no time
        output_tokens=metrics.output_tokens,
    ).collect()


def _text(value: object) -> str:
    return json.dumps(value, indent=2, default=str, allow_nan=False) + "\n"


def _nothing(view: RunView) -> str:
    return f"run {view.run.run_id} measured nothing that could be exported"
