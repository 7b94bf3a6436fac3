"""Do memory and lag stay flat? `python tests/bench/soak.py [--minutes 30] [--rps 500]`.

One leg, an open loop on a responder that answers after 50 ms. A line a minute: resident memory of the worker, and
schedule lag from the rows that were written in it. Exit code 1 where memory or lag grows: by a straight line through
the minutes after the first, over the whole time, more than `--mb` or `--lag-ms`; or where a row is missing or failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tests.bench.client import Job, spec_of
from tests.bench.engine import responder, split

HERE = Path(__file__).parent
POLL_S = 5
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_MB


@dataclass(frozen=True, slots=True)
class Minute:
    resident_mb: float  # the most in it
    lag_p99_ms: float


def watch(process: "subprocess.Popen[str]", folder: Path, minutes: int) -> list[Minute]:
    """Told as they pass; rows are read from the parts that were closed in the minute."""
    seen: set[Path] = set()
    found: list[Minute] = []
    begin, peak = time.monotonic(), 0.0
    while process.poll() is None:
        peak = max(peak, resident_mb(process.pid))
        if time.monotonic() >= begin + 60 * (len(found) + 1) and len(found) < minutes:
            parts = sorted(set(folder.glob("part-*.parquet")) - seen)
            seen.update(parts)
            lag = pl.read_parquet(parts, columns=["sent_ns", "intended_ns"]).select(
                (pl.col("sent_ns") - pl.col("intended_ns")) / 1e6
            )["sent_ns"]
            p50, p99, worst = (float(lag.quantile(q) or 0) for q in (0.5, 0.99, 1.0))
            found.append(Minute(peak, p99))
            shown = f"resident {peak:6.1f} MB, {len(lag):7,} rows, lag p50 {p50:.3f} p99 {p99:.3f} max {worst:.2f} ms"
            print(f"minute {len(found):3}: {shown}", flush=True)
            peak = 0.0
        time.sleep(POLL_S)
    return found


def grown(values: "list[float]") -> float:
    """By how much a straight line through the values after the first rises from end to end; 0 for fewer than three."""
    kept = values[1:]
    if len(kept) < 3:
        return 0.0
    return float(np.polyfit(np.arange(len(kept)), kept, 1)[0]) * (len(kept) - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rps", type=float, default=500)
    parser.add_argument("--stream", action="store_true", help="40 chunks, 10 ms apart")
    parser.add_argument("--mb", type=float, default=20, help="growth of memory that is still flat")
    parser.add_argument("--lag-ms", type=float, default=0.5, help="growth of the lag's p99 that is still flat")
    asked = parser.parse_args()
    ours, theirs = split(sorted(os.sched_getaffinity(0)))
    with responder(theirs) as ports, tempfile.TemporaryDirectory() as folder:
        job = Job(
            "engine", ports["stream" if asked.stream else "delayed"], ours,
            rate=asked.rps, seconds=60.0 * asked.minutes, stream=asked.stream, folder=folder,
        )  # fmt: skip
        command = [sys.executable, str(HERE / "client.py"), json.dumps(asdict(job))]
        env = {**os.environ, "POLARS_MAX_THREADS": "1"}
        leg = Path(spec_of(job, folder, "leg", 0).folder)
        if theirs is not None:
            os.sched_setaffinity(0, {theirs})  # whoever watches must not disturb the client
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            minutes = watch(process, leg, asked.minutes)
        if process.returncode:
            return process.returncode
        rows, failed = (
            pl.scan_parquet(leg / "part-*.parquet")
            .select(pl.len(), pl.col("failure").is_not_null().sum())
            .collect()
            .row(0)
        )
    memory, lag = grown([m.resident_mb for m in minutes]), grown([m.lag_p99_ms for m in minutes])
    lost = round(asked.rps * 60 * asked.minutes) - rows
    print(f"memory grew {memory:+.1f} MB (flat: ≤ {asked.mb:g}), lag p99 {lag:+.3f} ms (flat: ≤ {asked.lag_ms:g})")
    print(f"rows missing: {lost}, failed: {failed}")
    flat = memory <= asked.mb and lag <= asked.lag_ms and not lost and not failed
    print("flat" if flat else "NOT flat")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
