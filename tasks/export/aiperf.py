"""One load of a run in the words of AIPerf's `profile_export_aiperf.json` (schema 1.4), for whoever reads that file.

AIPerf's ITL is our TPOT, its inter-chunk latency our ITL; it counts a rate from the first send to the last end, over
requests that were answered. What AIPerf's file has of its own configuration, of GPUs and of the server is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from storage.records import Leg, Run, Series

SCHEMA_VERSION = "1.4"
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
# Its name, our column, from our unit (seconds, tokens) to its own, its unit.
DISTRIBUTIONS = (
    ("request_latency", "latency", 1e3, "ms"),
    ("time_to_first_token", "ttft", 1e3, "ms"),
    ("time_to_second_token", "ttst", 1e3, "ms"),
    ("inter_token_latency", "tpot", 1e3, "ms"),
    ("inter_chunk_latency", "gaps", 1e3, "ms"),
    ("output_token_throughput_per_user", "user_rate", 1.0, "tokens/sec/user"),
    ("output_sequence_length", "output_tokens", 1.0, "tokens"),
    ("input_sequence_length", "input_tokens", 1.0, "tokens"),
)
WHOLE = ("output_tokens", "input_tokens")


@dataclass(frozen=True, slots=True)
class Trial:
    """One load against one target, all of its blocks together."""

    target: str
    series: str
    level: int

    @property
    def label(self) -> str:
        """As `gw-concurrency_10`, `gw-replay`."""
        return f"{self.target}-{self.load}"

    @property
    def load(self) -> str:
        return f"concurrency_{self.level}" if self.series == Series.SWEEP else self.series


def aiperf_json(
    run: Run, trial: Trial, legs: Sequence[Leg], rows: pl.DataFrame, goodput: float | None = None
) -> dict[str, Any]:
    """`rows`: the measured requests of the trial's `legs`, of the first attempt: leg_id, failure, sent_ns, end_ns;
    latency, ttft, ttst, tpot and gaps (a list) in seconds, user_rate a second; input_tokens, output_tokens; null where
    it was not measured. `goodput`: requests a second inside every objective."""
    ok = rows.filter(pl.col("failure").is_null())
    lasted = _lasted(rows)
    found = {name: _distribution(ok, column, scale, unit) for name, column, scale, unit in DISTRIBUTIONS}
    totals = {name: int(ok[name].sum()) for name in WHOLE if ok[name].null_count() < ok.height}
    single: dict[str, tuple[float | None, str]] = {
        "request_count": (ok.height, "requests"),
        "error_request_count": (rows.height - ok.height, "requests"),
        "request_throughput": (ok.height / lasted if lasted else None, "requests/sec"),
        "output_token_throughput": (_rate(totals.get("output_tokens"), lasted), "tokens/sec"),
        "total_osl": (totals.get("output_tokens"), "tokens"),
        "total_isl": (totals.get("input_tokens"), "tokens"),
        "goodput": (goodput, "requests/sec"),
        "benchmark_duration": (lasted, "sec"),
    }
    found |= {name: {"unit": unit, "avg": value} for name, (value, unit) in single.items() if value is not None}
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark_id": run.run_id,
        **{name: value for name, value in found.items() if value is not None},
        "run_info": _info(run, trial),
        "was_cancelled": run.status == "cancelled",
        "is_complete": not any(leg.stopped for leg in legs),
        "error_summary": _errors(rows),
        **_times(legs),
        "gatebench": {"run_id": run.run_id, "target": trial.target, "series": trial.series, "level": trial.level},
    }


def _distribution(ok: pl.DataFrame, column: str, scale: float, unit: str) -> dict[str, Any] | None:
    """None where no request has it."""
    values = ok[column].drop_nulls()
    if isinstance(values.dtype, pl.List):
        values = values.explode(empty_as_null=False).drop_nulls()
    if values.is_empty():
        return None
    one = values.cast(pl.Float64) * scale
    quantiles = {f"p{q}": one.quantile(q / 100, "linear") for q in PERCENTILES}
    spread = {} if one.len() < 2 else {"std": one.std()}
    ends = {"min": one.min(), "max": one.max()}
    return {"unit": unit, "avg": one.mean(), **quantiles, **ends, **spread, "count": one.len(), "sum": one.sum()}


def _lasted(rows: pl.DataFrame) -> float | None:
    """Seconds from the first send to the last end, leg by leg: what lay between two legs was no load."""
    if rows.is_empty():
        return None
    spans = rows.group_by("leg_id").agg((pl.col("end_ns").max() - pl.col("sent_ns").min()).alias("span"))
    return float(spans["span"].sum()) / 1e9


def _rate(total: int | None, lasted: float | None) -> float | None:
    return total / lasted if total is not None and lasted else None


def _info(run: Run, trial: Trial) -> dict[str, Any]:
    values = {"concurrency": trial.level} if trial.series == Series.SWEEP else {}
    return {
        "benchmark_id": run.run_id,
        "random_seed": run.seed,
        "trial": 0,
        "run_label": trial.label,
        "variation_label": trial.load,
        "variation_values": values,
    }


def _errors(rows: pl.DataFrame) -> list[dict[str, Any]]:
    kinds = rows.filter(pl.col("failure").is_not_null()).group_by("failure").len().sort("len", "failure")
    return [
        {"error_details": {"type": kind, "message": kind}, "count": count} for kind, count in reversed(kinds.rows())
    ]


def _times(legs: Sequence[Leg]) -> dict[str, str]:
    """Wall clock: of the first leg's start and the last one's end."""
    if not legs:
        return {}
    starts = [datetime.fromisoformat(leg.started_at) for leg in legs]
    ends = [start + timedelta(seconds=leg.duration_s) for start, leg in zip(starts, legs, strict=True)]
    return {"start_time": min(starts).isoformat(), "end_time": max(ends).isoformat()}
