"""How long do all estimates of so many rows take?

Rows are made once (5 blocks × 4 levels, seeded), kept in Parquet parts as a run keeps them, and summarised by the same
`cells` that the flow calls, on every core there is.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from storage.files import polars_schema
from storage.records import Leg, Slo
from tasks.stats.estimate import cells
from tests.fakes import records

LEVELS, BLOCKS = (1, 10, 50, 100), 5
SLOS = [Slo("p95(latency) < 1s", "p95", "latency", 1.0, None)]


def leg_of(block: int, level: int, stream: bool) -> Leg:
    name = f"b{block}-{level}"
    return records.leg(requests=1, leg_id=name, trial_id=f"t{level}", block=block, level=level, stream=stream)


def write(folder: Path, leg: Leg, rows: int, gaps: int, rng: np.random.Generator) -> None:
    """One leg as Parquet, with the columns of the sample log; one request in a hundred fails."""
    latency = np.exp(rng.normal(np.log(4e8), 0.3, rows)).astype(np.int64)
    sent = np.arange(rows, dtype=np.int64) * 1_000_000
    stream: dict[str, object] = {}
    if gaps:
        stream = {
            "first_token_ns": sent + latency // 4,
            "last_token_ns": sent + latency,
            "chunk_gaps_us": rng.integers(100, 60_000, (rows, gaps), dtype=np.uint32),
        }
    frame = pl.DataFrame(
        {"seq": np.arange(rows), "intended_ns": sent, "sent_ns": sent, "end_ns": sent + latency, **stream}
    ).with_columns(
        pl.lit(leg.leg_id).alias("leg_id"), pl.lit(leg.trial_id).alias("trial_id"), pl.lit("first").alias("attempt"),
        pl.lit(leg.block).alias("block"), pl.lit("gw").alias("target"), pl.lit(leg.level).alias("level"),
        pl.lit("measured").alias("phase"), pl.lit(bool(gaps)).alias("stream"), pl.lit(32).alias("output_tokens"),
        pl.when(pl.col("seq") % 100 == 0).then(pl.lit("http_5xx")).alias("failure"),
    )  # fmt: skip
    if gaps:
        frame = frame.with_columns(pl.col("chunk_gaps_us").arr.to_list())
    missing = [name for name in polars_schema() if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(name) for name in missing)
    frame.select(pl.col(name).cast(kind) for name, kind in polars_schema().items()).write_parquet(
        folder / f"{leg.leg_id}.parquet"
    )


def measure(rows: int, gaps: int, runs: int, folder: Path) -> list[float]:
    """Seconds to all estimates of `rows` rows, `runs` times over; the rows are removed afterwards."""
    rng = np.random.default_rng(1)
    legs = [leg_of(block, level, bool(gaps)) for block in range(BLOCKS) for level in LEVELS]
    took = []
    with tempfile.TemporaryDirectory(dir=folder) as parts:
        for leg in legs:
            write(Path(parts), leg, rows // len(legs), gaps, rng)
        for _ in range(runs):
            begin = time.perf_counter()
            found = cells(pl.scan_parquet(Path(parts) / "*.parquet"), legs, slos=SLOS)
            took.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    middle = statistics.median(took)
    print(
        f"    {rows:>10,} rows, {gaps:2} gaps: {middle:5.2f} s ({min(took):.2f}–{max(took):.2f}), "
        f"{middle / rows * 1e9:5.0f} ns a row, {len(found)} estimates; peak of this process so far {peak:,.0f} MB",
        flush=True,
    )
    return took
