"""The marks of the instrument, all of them: `python tests/bench/engine.py [--only cpu,wrk,…] [--json FILE]`.

Each figure is the median of five runs, peers interleaved with ours in the same minutes, on a responder in another
process on another core. Exit code 1 when a bar is missed, 0 when all hold. Run it on an idle machine.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from storage.machine import environment
from tests.bench import peers, summary
from tests.bench.client import Job, measure
from tests.bench.marks import GROUPS, MARKS, as_json, clients, number, table, verdict

HERE = Path(__file__).parent
PACKAGES = ("uvloop", "httptools", "aiohttp", "httpx", "polars", "orjson", "numpy")
IDLE_LOAD = 0.7
NOT_IDLE = "The machine was not idle when this began: these are no marks"
Numbers = dict[str, float]
Round = dict[str, Numbers]


@dataclass(slots=True)
class Bench:
    """What is asked, and what was found so far."""

    runs: int
    share: float  # of the usual number of requests, seconds and rows
    ports: dict[str, int]
    cores: tuple[int, ...]  # the client's
    folder: Path
    tools: dict[str, str | None]
    found: dict[str, list[float]] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.ports[behaviour]}/v1"

    def job(self, who: str, behaviour: str, requests: int = 0, **more: Any) -> Job:
        return Job(who, self.ports[behaviour], self.cores, int(requests * self.share), **more)

    def times(self, behaviour: str) -> list[int]:
        """How long the responder itself took since the last look, ns."""
        with urllib.request.urlopen(self.url(behaviour).replace("/v1", "/times"), timeout=10) as answer:  # noqa: S310
            took: list[int] = json.load(answer)["took_ns"]
        return took

    def interleave(self, name: str, clients_of: Mapping[str, Callable[[], Numbers]]) -> list[Round]:
        """`runs` rounds; each client once a round, the order turned by one each time."""
        rounds: list[Round] = []
        names = list(clients_of)
        for k in range(self.runs):
            turned = names[k % len(names) :] + names[: k % len(names)]
            one = {who: clients_of[who]() for who in turned}
            rounds.append({who: one[who] for who in names})
        self.rounds[name] = rounds
        print(f"\n{name}, medians of {self.runs}:")
        print("\n".join(clients(rounds)), flush=True)
        return rounds


def ratio(rounds: Sequence[Round], key: str) -> list[float]:
    return [one["engine"][key] / one["aiohttp"][key] for one in rounds]


def cpu(bench: Bench) -> None:
    shapes: dict[str, tuple[str, str, tuple[int, int], dict[str, Any]]] = {
        "cpu_plain": ("no stream, instant responder", "instant", (60_000, 40_000), {}),
        "cpu_burst": ("stream of 32 chunks at once", "instant", (20_000, 15_000), {"stream": True}),
        "cpu_paced": ("stream of 32 chunks, 4 ms apart", "paced", (5_000, 5_000), {"stream": True, "users": 100}),
    }
    for key, (name, behaviour, (ours, theirs), more) in shapes.items():
        jobs = {
            "engine": bench.job("engine", behaviour, ours, **more),
            "aiohttp": bench.job("aiohttp", behaviour, theirs, **more),
        }
        rounds = bench.interleave(name, {who: lambda job=job: measure(job) for who, job in jobs.items()})  # type: ignore[misc]
        bench.found[key] = ratio(rounds, "cpu_us")
        if key == "cpu_plain":
            bench.found["rps"] = ratio(rounds, "rps")
    program = bench.tools["wrk"]
    if program is not None:
        top = peers.wrk(program, bench.url("instant"), bench.cores[:1], bench.folder, users=64, seconds=3)
        bench.rounds["the responder's limit"] = [{"wrk": top}]
        print(f"    the responder itself: {number(top['rps'])}/s (wrk)", flush=True)


def wrk(bench: Bench) -> None:
    program = bench.tools["wrk"]
    seconds = max(2, round(6 * bench.share))

    def with_truth(run: Callable[[], Numbers]) -> Callable[[], Numbers]:
        def both() -> Numbers:
            bench.times("delayed")
            found = run()
            own = sorted(bench.times("delayed"))
            return found | {"own_p50_ms": own[len(own) // 2] / 1e6, "own_p99_ms": own[len(own) * 99 // 100] / 1e6}

        return both

    limits = {"httpx": float(seconds)}  # a slow one: it would take minutes for as many requests
    clients_of = {
        who: with_truth(
            lambda who=who: measure(bench.job(who, "delayed", 12_000, users=100, seconds=limits.get(who, 0.0)))  # type: ignore[misc]
        )
        for who in ("engine", "aiohttp", "httpx")
    }
    if program is not None:
        url, core = bench.url("delayed"), bench.cores[:1]
        clients_of["wrk"] = with_truth(lambda: peers.wrk(program, url, core, bench.folder, users=100, seconds=seconds))
    rounds = bench.interleave("50 ms responder, 100 concurrent", clients_of)
    if program is None:
        bench.skipped["wrk"] = "wrk is not installed (Debian package wrk)"
        return
    for key in ("p50", "p99"):
        bench.found[key] = [one["engine"][f"{key}_ms"] - one["wrk"][f"{key}_ms"] for one in rounds]


def ttft(bench: Bench) -> None:
    def run() -> Numbers:
        bench.times("stream")
        found = measure(bench.job("engine", "stream", 2_000, users=100, stream=True))
        return found | {"own_p50_ms": median(bench.times("stream")) / 1e6}

    rounds = bench.interleave("stream, 100 concurrent, 40 chunks 10 ms apart", {"engine": run})
    bench.found["ttft"] = [one["engine"]["ttft_p50_ms"] - one["engine"]["own_p50_ms"] for one in rounds]


def lag(bench: Bench) -> None:
    job = bench.job("engine", "delayed", rate=500.0, seconds=max(2.0, 20 * bench.share))
    rounds = bench.interleave("open loop, 500/s", {"engine": lambda: measure(job)})
    bench.found["lag"] = [one["engine"]["lag_p99_ms"] for one in rounds]


def rows(bench: Bench) -> None:
    print("\nrows kept by one worker (resident MB after each tenth; peak):", flush=True)
    for key, usual, gaps in (("rows_peak", 10_000_000, 0), ("rows_gaps", 300_000, 32)):
        count = max(10_000, int(usual * bench.share) // 10_000 * 10_000)
        command = [sys.executable, str(HERE / "rows.py"), "--rows", str(count), "--gaps", str(gaps)]
        env = {**os.environ, "POLARS_MAX_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=900, check=False)
        if done.returncode:
            bench.skipped["rows"] = done.stderr.strip()[-500:]
            return
        steps = [json.loads(line) for line in done.stdout.splitlines()]
        sizes = [step["resident_mb"] for step in steps]
        bench.rounds[key] = [{"sink": {f"mb_after_{step['rows']}": step["resident_mb"] for step in steps}}]
        bench.found[key] = [steps[-1]["peak_mb"]]
        if key == "rows_peak":
            bench.found["rows_growth"] = [max(sizes[1:]) - sizes[0]]
        shown = " ".join(f"{size:.0f}" for size in sizes)
        print(f"    {count:,} rows, {gaps} gaps: {shown}; peak {steps[-1]['peak_mb']:.0f}", flush=True)


def estimates(bench: Bench) -> None:
    print("\nall estimates:", flush=True)
    most = int(10_000_000 * bench.share)
    took = {count: summary.measure(count, 0, bench.runs, bench.folder) for count in (most // 10, most * 3 // 10, most)}
    bench.found["summary"] = took[most]
    # A million rows fit into the processor's caches; the two larger ones do not, and show how the work grows.
    large = most * 3 // 10
    bench.found["summary_linear"] = [b / s * large / most for b, s in zip(took[most], took[large], strict=True)]
    bench.found["summary_gaps"] = summary.measure(most // 10, 32, bench.runs, bench.folder)


def others(bench: Bench) -> None:
    """AIPerf and GuideLLM, once each, and the engine beside them: no bar hangs on them."""
    seconds = max(5, round(20 * bench.share))
    runs = {"aiperf": peers.aiperf, "guidellm": peers.guidellm}
    shown: Round = {"engine": measure(bench.job("engine", "delayed", 12_000, users=100))}
    for name, run in runs.items():
        program = bench.tools[name]
        if program is None:
            bench.skipped[f"peers {name}"] = f"{name} is not installed (tests/bench/peers.txt)"
            continue
        try:
            shown[name] = run(program, bench.url("delayed"), bench.folder, users=100, seconds=seconds)
        except peers.PeerFailed as error:
            bench.skipped[f"peers {name}"] = str(error)
    bench.rounds["peers"] = [shown]
    print("\n50 ms responder, 100 concurrent, whole tools, one run:")
    print("\n".join(clients([shown])), flush=True)


MEASURES = {
    "cpu": cpu, "wrk": wrk, "ttft": ttft, "lag": lag, "rows": rows, "summary": estimates, "peers": others
}  # fmt: skip


@contextmanager
def responder(core: int | None) -> Iterator[dict[str, int]]:
    """Its ports by behaviour; it ends with its stdin."""
    command = [sys.executable, str(HERE / "responder.py"), *(() if core is None else ("--core", str(core)))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def split(cores: Sequence[int]) -> tuple[tuple[int, ...], int | None]:
    """(the client's cores, the responder's), different ones where there are two."""
    return (tuple(cores[:-1]), cores[-1]) if len(cores) > 1 else (tuple(cores), None)


def machine(tools: Mapping[str, str | None]) -> dict[str, Any]:
    facts = environment(home=Path.home(), packages=PACKAGES, engine_version=0)
    facts["peers"] = {name: peers.version(program) for name, program in tools.items() if program is not None}
    return facts


def told(facts: Mapping[str, Any], cores: Sequence[int]) -> list[str]:
    git = facts["git"]
    versions = {**facts["packages"], **facts["peers"]}
    return [
        f"{facts['cpu_model']}, {facts['cores']} cores (used: {len(cores)}), Linux {facts['kernel']}, "
        f"load {facts['load_average']}",
        f"{facts['python']}, " + ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        f"gatebench {facts['package']}, commit {git['revision'][:10] + (' and changes' if git['dirty'] else '')}"
        if git
        else f"gatebench {facts['package']}",
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual size; below 1 it is a try, not a mark")
    parser.add_argument("--json", type=Path, help="default: results/engine-<date>.json beside this file; - for none")
    parser.add_argument("--aiperf", default=shutil.which("aiperf"), help="AIPerf's executable, in its own environment")
    parser.add_argument("--guidellm", default=shutil.which("guidellm"), help="GuideLLM's, likewise")
    asked = parser.parse_args()
    asked.only = asked.only.split(",")
    unknown = set(asked.only) - set(GROUPS)
    if unknown:
        parser.error(f"--only: no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return asked


def main() -> int:
    asked, began = arguments(), time.perf_counter()
    lacking = "Linux" if platform.system() != "Linux" else "aiohttp" if find_spec("aiohttp") is None else None
    if lacking is not None:
        print(f"this needs {lacking}: `make bench` sets it up on Linux", file=sys.stderr)
        return 2
    tools = {"wrk": shutil.which("wrk"), "aiperf": asked.aiperf, "guidellm": asked.guidellm}
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = split(cores)
    facts, started = machine(tools), datetime.now(UTC)
    print("\n".join(told(facts, cores)))
    busy = (facts["load_average"] or [0])[0] > IDLE_LOAD
    if busy:
        print(NOT_IDLE)
    with responder(theirs) as ports, tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.runs, asked.share, ports, ours, Path(folder), tools)
        for group in (group for group in GROUPS if group in asked.only):
            MEASURES[group](bench)
    lines = table(bench.found, bench.skipped)
    missed = [m.text for m in MARKS if m.key in bench.found and verdict(m, bench.found[m.key]) == "MISSED"]
    print("\n" + "\n".join(lines))
    print(
        f"\n{time.perf_counter() - began:.0f} s; missed: {'; '.join(missed) or 'none'}{'. ' + NOT_IDLE if busy else ''}"
    )
    if str(asked.json) != "-":
        path = asked.json or HERE / "results" / f"engine-{started:%Y%m%d-%H%M%S}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record(bench, facts, started), indent=1), encoding="utf-8")
        print(path)
    return 1 if missed else 0


def record(bench: Bench, facts: Mapping[str, Any], started: datetime) -> dict[str, Any]:
    return {
        "schema": "gatebench.bench/1",
        "started_at": started.isoformat(),
        "runs": bench.runs,
        "share": bench.share,
        "machine": dict(facts),
        "marks": as_json(bench.found),
        "measurements": bench.rounds,
        "skipped": bench.skipped,
    }


if __name__ == "__main__":
    sys.exit(main())
