"""How long do all estimates of ten million rows take? `python tests/bench/summary.py [--rows N] [--gaps N]`.

The mark: linear, at most 10 s for ten million rows on two cores. Rows are made once (5 blocks × 4 levels, seeded), kept
in Parquet parts as a run keeps them, and summarised by the same `cells` that the flow calls.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from storage.files import polars_schema
from storage.records import Health, Leg, Slo
from tasks.stats.estimate import cells

MARK_S, MARK_ROWS = 10.0, 10_000_000
LEVELS, BLOCKS = (1, 10, 50, 100), 5
QUIET = Health(None, None, None, None, None, None, None, 0, None, None)
SLOS = [Slo("p95(latency) < 1s", "p95", "latency", 1.0, None)]


def leg_of(block: int, level: int, stream: bool) -> Leg:
    return Leg(
        "r", f"t{level}", f"b{block}-{level}", "first", block, "gw", "sweep", level, "closed", stream,
        "http://127.0.0.1:1/v1", "m", 1, "w", "2026-01-01T00:00:00+00:00", 1.0, 1, 1, 1, 1, {}, 0, 0, "valid", [],
        None, QUIET,
    )  # fmt: skip


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


def measure(rows: int, gaps: int) -> float:
    rng = np.random.default_rng(1)
    legs = [leg_of(block, level, bool(gaps)) for block in range(BLOCKS) for level in LEVELS]
    with tempfile.TemporaryDirectory() as folder:
        for leg in legs:
            write(Path(folder), leg, rows // len(legs), gaps, rng)
        begin = time.perf_counter()
        found = cells(pl.scan_parquet(Path(folder) / "*.parquet"), legs, slos=SLOS)
        took = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind = f"stream, {gaps} gaps" if gaps else "no stream"
    print(
        f"{rows:>12,} rows, {kind:18} {took:7.2f} s {took / rows * 1e9:8.0f} ns a row  {len(found)} estimates", end=""
    )
    print(f"  peak of the process so far {peak:,.0f} MB", flush=True)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=MARK_ROWS)
    parser.add_argument("--gaps", type=int, default=32)
    asked = parser.parse_args()
    for rows in (asked.rows // 100, asked.rows // 10):
        measure(rows, 0)
    plain = measure(asked.rows, 0)
    measure(asked.rows // 100, asked.gaps)
    measure(asked.rows // 10, asked.gaps)
    kept = plain <= MARK_S * asked.rows / MARK_ROWS
    print(f"mark: {MARK_S:g} s for {MARK_ROWS:,} rows: {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
