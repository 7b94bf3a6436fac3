"""One measurement in a process of its own: a `Job` as JSON in, a dict of numbers as JSON out.

The process pins itself to the client's cores, runs once uncounted (imports), once short and once long; CPU and rate are
those of the requests by which the long run exceeds the short one, so that starting counts for nothing (not so for a
rate, nor for a client that is cut off after some seconds). CPU is of the whole process, threads too, so that writing
Parquet counts.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
from typing import Any, NamedTuple

USERS, WORDS, WARMUP = 64, 64, 300
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Job:
    """`rate`: an open loop at so many a second for `seconds`; else `requests` at `users` concurrent, ended early after
    `seconds` where the client is a slow one."""

    who: str  # engine | aiohttp | httpx
    port: int
    cores: tuple[int, ...]
    requests: int = 0
    users: int = USERS
    stream: bool = False
    rate: float | None = None
    seconds: float = 0.0
    folder: str | None = None  # where the engine's rows stay; None: they are removed


def measure(job: Job) -> dict[str, float]:
    """Run `job` in a process of its own. Raises RuntimeError with what it said where it failed."""
    command = [sys.executable, __file__, json.dumps(asdict(job))]
    env = {**os.environ, "POLARS_MAX_THREADS": "1"}  # as the fleet starts its workers
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env, check=False)
    if done.returncode:
        raise RuntimeError(f"{job.who} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the cost of a request


class Spent(NamedTuple):
    requests: int
    cpu_s: float
    wall_s: float

    def less(self, other: "Spent") -> "Spent":
        return Spent(self.requests - other.requests, self.cpu_s - other.cpu_s, self.wall_s - other.wall_s)

    def each(self) -> dict[str, float]:
        return {
            "requests": self.requests,
            "cpu_us": self.cpu_s / self.requests * 1e6,
            "rps": self.requests / self.wall_s,
        }


NOTHING = Spent(0, 0.0, 0.0)


def clocks() -> tuple[float, float]:
    return process_time(), perf_counter()


def since(begin: tuple[float, float], requests: int) -> Spent:
    return Spent(requests, process_time() - begin[0], perf_counter() - begin[1])


# --- the engine


def engine(job: Job) -> dict[str, float]:
    import polars as pl

    from tasks.load.leg import run

    with contextlib.ExitStack() as stack:
        folder = job.folder if job.folder is not None else stack.enter_context(tempfile.TemporaryDirectory())
        run(spec_of(job, folder, "warm", WARMUP))
        short = NOTHING
        if job.requests > 10 * WARMUP:
            begin = clocks()
            short = since(begin, run(spec_of(job, folder, "short", WARMUP)).rows)
        spec = spec_of(job, folder, "leg", job.requests)
        begin = clocks()
        leg = run(spec)
        spent = since(begin, leg.rows).less(short)
        if leg.ok != leg.measured or not leg.measured:
            raise RuntimeError(f"the engine saw failures: {leg.failed} {leg.reasons}")
        rows = pl.read_parquet(Path(spec.folder) / "*.parquet").filter(phase="measured")
    service = rows["end_ns"] - rows["sent_ns"]
    found = {
        **spent.each(),
        "p50_ms": _quantile(service, 0.5) / 1e6,
        "p99_ms": _quantile(service, 0.99) / 1e6,
    }
    if job.rate is not None:
        lag = rows["sent_ns"] - rows["intended_ns"]
        found |= {
            "lag_p50_ms": _quantile(lag, 0.5) / 1e6,
            "lag_p99_ms": _quantile(lag, 0.99) / 1e6,
            "lag_max_ms": _quantile(lag, 1.0) / 1e6,
        }
    if job.stream:
        found["ttft_p50_ms"] = _quantile(rows["first_token_ns"] - rows["sent_ns"], 0.5) / 1e6
        found["stamps"] = rows.height + float(rows["chunk_gaps_us"].list.len().sum())
    return found


def spec_of(job: Job, folder: str, name: str, requests: int) -> Any:
    """The LegSpec of `job`, its rows in `folder`/`name`."""
    import polars as pl

    from tasks.load.spec import BreakerSpec, LegSpec, TargetSpec

    workload = Path(folder) / "workload.parquet"
    if not workload.exists():
        row = {"model": "m", "input_tokens": WORDS, "output_tokens": 16, "max_output_tokens": 16, "stream": job.stream}
        pl.DataFrame([{"offset_ns": k, **row} for k in range(64)]).write_parquet(workload)
    spec = LegSpec(
        run_id="bench", trial_id="bench", leg_id=name, attempt="first", block=0,
        target=TargetSpec(name="bench", url=f"http://127.0.0.1:{job.port}/v1", model="m"),
        series="sweep", level=job.users, loop="closed", folder=str(Path(folder) / name), workload=str(workload),
        workload_id="bench", seed=1, requests=requests, stream=job.stream, breaker=BreakerSpec(enabled=False),
    )  # fmt: skip
    if job.rate is None:
        return spec
    seconds = 1.0 if name == "warm" else job.seconds
    return replace(spec, loop="open", level=0, series="load", rate_rps=job.rate, duration_s=seconds, requests=0)


def _quantile(values: Any, q: float) -> float:
    found = values.quantile(q, "nearest")
    return float("nan") if found is None else float(found)


# --- loops over other people's clients: nothing is recorded but the latency, in one list

Ask = Callable[[], Awaitable[object]]


def _body(stream: bool) -> bytes:
    head = {"model": "m", "stream": stream, "max_tokens": 16}
    return json.dumps(
        {**head, "messages": [{"role": "user", "content": "word " * WORDS}]}, separators=(",", ":")
    ).encode()


async def _loop(ask: Ask, users: int, requests: int, seconds: float) -> list[int]:
    """Latencies in ns, without each user's first."""
    left, took = requests, []
    until = perf_counter() + seconds if seconds else float("inf")

    async def user() -> None:
        nonlocal left
        await ask()
        while left > 0 and perf_counter() < until:
            left -= 1
            sent = perf_counter_ns()
            await ask()
            took.append(perf_counter_ns() - sent)

    await asyncio.gather(*(user() for _ in range(users)))
    return took


async def _measured(job: Job, ask: Ask) -> dict[str, float]:
    import numpy as np

    async def run(requests: int, seconds: float) -> tuple[Spent, list[int]]:
        begin = clocks()
        took = await _loop(ask, job.users, requests, seconds)
        return since(begin, len(took) + job.users), took

    await run(WARMUP, job.seconds / 5)
    short = NOTHING if job.seconds else (await run(WARMUP, 0))[0]
    whole, took = await run(job.requests, job.seconds)
    return {
        **whole.less(short).each(),
        "p50_ms": float(np.quantile(took, 0.5)) / 1e6,
        "p99_ms": float(np.quantile(took, 0.99)) / 1e6,
    }


async def with_aiohttp(job: Job) -> dict[str, float]:
    import aiohttp

    url, body = f"http://127.0.0.1:{job.port}/v1/chat/completions", _body(job.stream)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def plain() -> None:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()

        async def stream() -> None:
            async with session.post(url, data=body, headers=headers) as answer:
                async for _ in answer.content.iter_any():
                    pass

        return await _measured(job, stream if job.stream else plain)


async def with_httpx(job: Job) -> dict[str, float]:
    import httpx

    url, body = f"http://127.0.0.1:{job.port}/v1/chat/completions", _body(False)
    headers = {"Content-Type": "application/json"}
    pool = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=pool, timeout=60) as session:
        return await _measured(job, lambda: session.post(url, content=body, headers=headers))


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    if job.who == "engine":
        found = engine(job)
    else:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run((with_aiohttp if job.who == "aiohttp" else with_httpx)(job))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
