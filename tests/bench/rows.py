"""What does a worker's memory do while it keeps ten million rows? `python tests/bench/rows.py [--rows N] [--gaps N]`.

Rows go through the same sink as a leg's, at twice the rate one worker reaches, and the parts are removed as they are
closed, so that the disk need not hold them all. One JSON line a tenth: rows, resident memory now, and its peak so far.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from storage.records import Sample
from tasks.load.sink import Sink

RATE, RATE_STREAM = 100_000, 20_000
BATCH = 1_000
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def sample(gaps: int) -> Sample:
    """A row as an ok request leaves it; `gaps` > 0: of a stream."""
    return Sample(
        seq=0, phase="measured", stream_label="main", intended_ns=1_000, sent_ns=2_000, dns_ns=None,
        connected_ns=None, tls_ns=None, headers_ns=3_000, first_token_ns=4_000, first_answer_ns=4_000,
        last_token_ns=5_000, end_ns=6_000, chunk_gaps_us=None, stream=gaps > 0, input_tokens=64, output_tokens=16,
        request_bytes=600, response_bytes=900, status=200, failure=None, finish_reason="stop", model_asked="m",
        model_served="m", cache_hit=None, fallbacks=None, attempts=None, retry_after_s=None, request_id=None,
        connection_reused=True, resends=0,
    )  # fmt: skip


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_MB


def keep(rows: int, gaps: int, folder: Path) -> None:
    constants: dict[str, str | int] = {"trial_id": "t", "leg_id": "l", "attempt": "first", "block": 0}
    constants |= {"target": "gw", "level": 1, "shard": 0}
    sink = Sink(folder, constants)
    like = tuple(sample(gaps))
    gaps_at, id_at, end_at = (Sample._fields.index(name) for name in ("chunk_gaps_us", "request_id", "end_ns"))
    begin, numbers, rate = time.perf_counter(), count(), RATE_STREAM if gaps else RATE
    for done in range(0, rows, BATCH):
        for k in range(done, done + BATCH):
            row = list(like)
            row[0], row[end_at], row[id_at] = k, 6_000 + 10_000 * k, f"chatcmpl-{k:012d}"
            if gaps:
                row[gaps_at] = [next(numbers) % 60_000 for _ in range(gaps)]
            sink.add(Sample._make(row))
        if (done + BATCH) % (rows // 10) == 0:
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"rows": done + BATCH, "resident_mb": resident_mb(), "peak_mb": peak_mb}), flush=True)
            _clear(folder)
        ahead = begin + done / rate - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
    sink.close()


def _clear(folder: Path) -> None:
    for part in folder.glob("part-*.parquet"):
        part.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--gaps", type=int, default=0)
    parser.add_argument("--core", type=int)
    asked = parser.parse_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    if shutil.disk_usage(tempfile.gettempdir()).free < 2**30:
        print(f"less than 1 GB is free in {tempfile.gettempdir()}: set TMPDIR", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        keep(asked.rows, asked.gaps, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
