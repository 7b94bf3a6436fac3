"""How fast is a log captured, and in how much memory? `python tests/bench/capture.py [megabytes] [log.jsonl]`.

A LiteLLM log is made as large as asked (1,000 MB by default) out of the shipped sample, or out of another one,
each copy with call ids and times of its own. Then plain `orjson.loads` of each line and a capture take turns, each in a
process of its own, whose start does not count; the marks are 100 MB/s and 500 MB.
"""

import gzip
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config" / "samples" / "litellm.jsonl.gz"
STAMPS = ("startTime", "endTime", "completionStartTime")
MARK_MBS, MARK_MB = 100, 500
TURNS = 3


def make(path: Path, megabytes: int, source: Path) -> int:
    """Rows written."""
    raw = source.read_bytes()
    lines = (gzip.decompress(raw) if source.suffix == ".gz" else raw).splitlines()
    parsed = [(line, orjson.loads(line)) for line in lines]
    span = max(p["endTime"] for _, p in parsed) - min(p["startTime"] for _, p in parsed) + 1
    size = rows = copy = 0
    with path.open("wb") as file:
        while size < megabytes * 10**6:
            for line, payload in parsed:
                made = line.replace(
                    payload["litellm_call_id"].encode(), f"{payload['litellm_call_id']}-{copy}".encode()
                )
                for stamp in {payload[name] for name in STAMPS}:
                    made = made.replace(repr(stamp).encode(), f"{stamp + copy * span:.6f}".encode())
                size += file.write(made + b"\n")
                rows += 1
            copy += 1
    return rows


def plain(path: Path) -> str:
    with path.open("rb") as file:
        return f"{sum(1 for line in file if orjson.loads(line))} lines"


def one(what: str, path: Path) -> None:
    from tasks.workload.capture import capture

    def captured(path: Path) -> str:
        return capture([path]).ledger.in_words()

    begin = time.perf_counter()
    said = {"plain": plain, "capture": captured}[what](path)
    seconds = time.perf_counter() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(orjson.dumps([seconds, peak_mb, said]).decode())


def in_process(what: str, path: Path) -> tuple[float, float, str]:
    done = subprocess.run([sys.executable, __file__, what, str(path)], cwd=ROOT, capture_output=True, check=True)
    seconds, peak_mb, said = orjson.loads(done.stdout)
    return seconds, peak_mb, said


def main(megabytes: int, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        rows = make(path, megabytes, source)
        size_mb = path.stat().st_size / 1e6
        print(f"{size_mb:,.0f} MB, {rows:,} rows of {size_mb * 1e3 / rows:.1f} kB")
        speeds: dict[str, list[float]] = {"plain": [], "capture": []}
        for _ in range(TURNS):
            for what, found in speeds.items():
                seconds, peak_mb, said = in_process(what, path)
                found.append(size_mb / seconds)
                print(f"{what:8} {size_mb / seconds:7.0f} MB/s {peak_mb:7.0f} MB peak   {said}")
    speed, bare = (statistics.median(speeds[what]) for what in ("capture", "plain"))
    print(
        f"capture: median {speed:.0f} MB/s, {speed / MARK_MBS:.1f} x the mark, {speed / bare:.2f} x plain orjson.loads"
    )
    print(f"marks: at least {MARK_MBS} MB/s, at most {MARK_MB} MB")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] in (["plain"], ["capture"]):
        one(sys.argv[1], Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, Path(sys.argv[2]) if len(sys.argv) > 2 else SAMPLE)
