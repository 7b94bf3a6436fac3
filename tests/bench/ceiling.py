"""Is the ceiling that `gatebench ceiling` tells the true one? `.venv/bin/python -m tests.bench.ceiling` (13 minutes).

Ten simulators with slots and service times drawn at random, each measured by the command as a user would run it. The
truth is the simulator's own: slots / mean time that a slot was really held. Prints a line a seed; exits with 1 where
fewer than nine in ten are within 5 %, or fewer than nine in ten intervals hold the truth. A run that says it was itself
the limit (exit code 12: the machine was busy) is made again, twice at most.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.local import HARDENED, server, unused_port
from storage.disk import make_folder
from tasks.simulator.model import Distribution, SimConfig
from tasks.simulator.process import SimulatorProcess

WITHIN = 0.05
SHARE = 0.9
INVALID, AGAIN = 12, 2
_LIMITS = ("invalid_lag_p99_ms", "invalid_loop_lag_p99_ms", "invalid_cpu_share")
LIFTED = [word for name in _LIMITS for word in ("--set", f"health.{name}=1e9")]
LEAST_RPS, MOST_RPS = 60.0, 700.0
KINDS = ((Distribution.CONSTANT, 0.0), (Distribution.LOGNORMAL, 0.3), (Distribution.LOGNORMAL, 0.6))
COMMAND = [sys.executable, "-m", "flows.cli", "ceiling", "--model", "m", "--json", "-"]
SWEEP = ["--concurrency", "4,16,64", "--requests", "640", "--blocks", "5", "--no-stream"]


@dataclass(frozen=True, slots=True)
class Result:
    """Rates a second; None: none was found."""

    seed: int
    config: SimConfig
    truth: float
    swept: dict[str, Any] | None  # estimate of the closed loop
    sustained: dict[str, Any] | None  # of the open loop
    limited_by: str
    rates: int
    seconds: float
    code: int


def drawn(seed: int) -> SimConfig:
    """Slots and service time of a seed, so that the capacity lies between LEAST_RPS and MOST_RPS."""
    rng = random.Random(f"ceiling {seed}")
    while True:
        slots, service_ms = round(2 * 24 ** rng.random()), 15 * 10 ** rng.random()
        kind, cv = rng.choice(KINDS)
        if LEAST_RPS <= slots / (service_ms / 1e3) <= MOST_RPS:
            return SimConfig(slots=slots, service_ms=service_ms, distribution=kind, cv=cv, seed=seed)


def measure(seed: int, env: dict[str, str], more: Sequence[str]) -> Result:
    config = drawn(seed)
    with SimulatorProcess(config) as simulator:
        began = time.monotonic()
        words = [*COMMAND, "--url", simulator.url, *more]
        done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
        took = time.monotonic() - began
        truth = simulator.stats()["capacity_rps"]
    if not done.stdout:
        raise SystemExit(f"seed {seed}: exit code {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    swept = None if found["ceiling"] is None else found["ceiling"]["throughput_rps"]
    limited_by = (found["sustainable"] or {"limited_by": "none"})["limited_by"]
    rates = len(found["rates"])
    return Result(seed, config, truth, swept, found["sustainable_rps"], limited_by, rates, took, done.returncode)


def off(found: dict[str, Any] | None, truth: float) -> float | None:
    """How far the point is from the truth, as a share of it."""
    return None if found is None else found["point"] / truth - 1


def holds(found: dict[str, Any] | None, truth: float) -> bool:
    """Does the interval hold the truth? One that is open at the top holds all above its lower end."""
    if found is None or found["lower"] is None:
        return False
    return bool(found["lower"] <= truth and (found["upper"] is None or truth <= found["upper"]))


def line(one: Result) -> str:
    kind = f"{one.config.distribution} {one.config.cv:g}" if one.config.cv else str(one.config.distribution)
    what = f"{one.config.slots:3} slots {one.config.service_ms:5.1f} ms {kind:13}"
    parts = [_told(found, one.truth) for found in (one.swept, one.sustained)]
    tail = f"{one.limited_by:9} {one.rates:2} rates {one.seconds:4.0f} s, exit {one.code}"
    return f"{one.seed:4}  {what} {one.truth:6.1f}  {parts[0]}  {parts[1]}  {tail}"


def _told(found: dict[str, Any] | None, truth: float) -> str:
    away = off(found, truth)
    if found is None or away is None:
        return f"{'–':^24}"
    ends = "[" + ", ".join("∞" if end is None else f"{end:.0f}" for end in (found["lower"], found["upper"])) + "]"
    return f"{found['point']:6.1f} {ends:10} {100 * away:+5.1f} %{' ' if holds(found, truth) else '!'}"


def missed(results: Sequence[Result]) -> list[str]:
    """Which marks do not hold, in words."""
    least = SHARE * len(results)
    lost = []
    for name in ("swept", "sustained"):
        answers = [(getattr(one, name), one.truth) for one in results]
        near = sum(abs(away) <= WITHIN for found, truth in answers if (away := off(found, truth)) is not None)
        inside = sum(holds(found, truth) for found, truth in answers)
        if near < least:
            lost.append(f"{name}: {near} of {len(results)} within {WITHIN:.0%}")
        if inside < least:
            lost.append(f"{name}: {inside} of {len(results)} intervals hold the truth")
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--duration", default="5s", help="how long each rate is tried")
    parser.add_argument(
        "--busy", action="store_true", help="lift the instrument's limits: the machine does other things"
    )
    given = parser.parse_args()
    more = [*SWEEP, "--duration", given.duration, *(LIFTED if given.busy else ())]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("GATEBENCH_", "PREFECT_"))}
    results = []
    print("seed  target                             truth   closed loop               open loop", flush=True)
    with (
        tempfile.TemporaryDirectory() as place,
        server(make_folder(Path(place) / "server"), unused_port(), services=False) as ours,
    ):
        kept = {name: ours[name] for name in ("PREFECT_HOME", "PREFECT_API_URL", *HARDENED)}
        env = {**kept, **bare, "GATEBENCH_HOME": str(Path(place) / "home")}
        for seed in range(given.first, given.first + given.seeds):
            for _ in range(1 + AGAIN):
                found = measure(seed, env, more)
                print(line(found), flush=True)
                if found.code != INVALID:
                    break
            results.append(found)
    lost = missed(results)
    print("\n".join(f"MISSED {text}" for text in lost) or f"all {len(results)} seeds: the marks hold")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
