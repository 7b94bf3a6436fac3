"""The trials: what each gateway adds, how much it can take, whether its own log can be replayed, and what becomes of an
upstream's faults behind it."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.e2e.gateways import MODEL, Gateway, Tools, started
from tests.e2e.product import Answer, Product, plan

SERVICE_MS = 40.0
WARM = 30
LEG_S = 2.0
FAULTS = {
    "429 with Retry-After": "rate_limited:retry_after_s=1",
    "500": "error:status=500",
    "connection reset": "reset",
    "stream cut half way": "half_stream",
    "stream silent half way": "stall:stall_s=20",
    "an event that is no JSON": "bad_json",
    "clean end, no finish": "truncated",
    "no content": "empty",
    "error frame in a 200": "error_frame",
}
FAULTY = 0.5  # of the requests


@dataclass(frozen=True, slots=True)
class Sizes:
    """Requests a level and target, and the levels."""

    requests: int
    levels: tuple[int, ...]
    blocks: int = 5


@dataclass(frozen=True, slots=True)
class Added:
    """Of one gateway at one level, against straight to the upstream: milliseconds, with the 95 % interval."""

    upstream: str
    gateway: str
    stream: bool
    level: int
    metric: str
    direct_ms: float | None
    by_ms: float | None
    lower_ms: float | None
    upper_ms: float | None


@dataclass(frozen=True, slots=True)
class Able:
    """How many requests a second a gateway passes on, on this machine and with everything else on it, with the 95 %
    interval; `validity` of the level where it did."""

    gateway: str
    stream: bool
    rps: float | None
    lower: float | None
    upper: float | None
    concurrency: int | None
    failed: int
    validity: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A gateway's own log, captured and played again through it."""

    gateway: str
    sent: int
    kept: int
    tokens: str
    replayed: int
    ok: int
    as_recorded: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Faulty:
    """What clients saw of a fault that half of the requests met."""

    fault: str
    target: str
    requests: int
    ok: int
    kinds: dict[str, int]


@dataclass(slots=True)
class Bench:
    """What the trials share; the machine's load average is noted before each."""

    product: Product
    tools: Tools
    names: list[str]
    folder: Path
    part: str = ""
    loads: list[dict[str, Any]] = field(default_factory=list)

    def noting(self, part: str, loads: list[dict[str, Any]]) -> None:
        self.part, self.loads = part, loads

    def begin(self, what: str) -> None:
        """Waits until the last trial is off the machine's mind, then says how busy it is."""
        time.sleep(5)
        load = os.getloadavg()[0]
        print(f"{what} (load average {load:.2f})", flush=True)
        self.loads.append({"part": self.part, "what": what, "load": load})


def overhead(bench: Bench, upstream: str, url: str, sizes: Sizes, stream: bool, workload: Path | None) -> list[Added]:
    """`gatebench compare` of the upstream itself and all gateways, in the same blocks."""
    bench.begin(f"overhead on the {upstream}, {'streams' if stream else 'plain'}")
    folder = bench.folder / f"overhead-{upstream}-{'stream' if stream else 'plain'}".replace(" ", "-")
    with started(bench.names, bench.tools, url, folder) as gateways:
        warm(gateways)
        file = plan(folder / "plan.toml", "overhead", gateways, url, workload)
        answer = bench.product("compare", "--plan", file, *_sized(sizes, stream), "--set", "judge.confirm=false")
    return list(_added(answer, upstream, stream))


def warm(gateways: Sequence[Gateway]) -> None:
    """Some requests through each, for the first ones of a gateway pay for imports and connections."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    for gateway in gateways:
        key = os.environ.get(gateway.key_env)
        headers = gateway.headers | ({} if key is None else {"authorization": f"Bearer {key}"})
        with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
            for k in range(WARM):
                client.post(f"{gateway.url}/chat/completions", json={**asked, "stream": k % 2 == 0})


def _sized(sizes: Sizes, stream: bool) -> list[str]:
    levels = ",".join(map(str, sizes.levels))
    words = ["--requests", str(sizes.requests), "--concurrency", levels, "--blocks", str(sizes.blocks)]
    return [*words, "--stream" if stream else "--no-stream"]


def _added(answer: Answer, upstream: str, stream: bool) -> Iterator[Added]:
    if not answer.json:
        raise SystemExit(f"the comparison gave nothing:\n{answer.err}")
    for one in answer.json["comparisons"]:
        if one["kind"] == "overhead" and one["level"] is not None and one["metric"] in ("latency_p50", "ttft_p50"):
            values = [one[name] for name in ("baseline_value", "by", "by_lower", "by_upper")]
            yield Added(upstream, one["candidate"], stream, one["level"], one["metric"], *values)


def capacity(bench: Bench, sizes: Sizes, stream: bool) -> list[Able]:
    """`gatebench sweep` of each gateway alone, in front of a simulator that answers at once; then again with as many
    requests as it answers in LEG_S, where that is more: 200 of nginx's are over in 12 ms."""
    bench.begin(f"capacity, {'streams' if stream else 'plain'}")
    found = []
    for name in bench.names:
        folder = bench.folder / f"capacity-{name}"
        with (
            SimulatorProcess(SimConfig(slots=0, service_ms=0.0)) as upstream,
            started([name], bench.tools, upstream.url, folder) as gateways,
        ):
            for gateway in gateways:
                warm(gateways)
                file = plan(folder / "plan.toml", "capacity", [gateway], None)
                words = ("sweep", "--plan", file, "--no-control")
                one = _able(gateway.name, stream, bench.product(*words, *_sized(sizes, stream)))
                enough = round((one.rps or 0.0) * LEG_S) * sizes.blocks
                if enough > sizes.requests:
                    longer = _sized(replace(sizes, requests=enough), stream)
                    one = _able(gateway.name, stream, bench.product(*words, *longer))
                found.append(one)
    return found


def _able(name: str, stream: bool, answer: Answer) -> Able:
    ceiling, levels = answer.json.get("ceiling") or {}, answer.json.get("levels", [])
    rate, top = ceiling.get("throughput_rps") or {}, ceiling.get("concurrency")
    failed = sum(sum(level["failed"].values()) for level in levels)
    validity = next((level["validity"] for level in levels if level["concurrency"] == top), "invalid")
    return Able(name, stream, rate.get("point"), rate.get("lower"), rate.get("upper"), top, failed, validity)


def own_logs(bench: Bench, seconds: int, rate: float) -> list[Replayed]:
    """Traffic through each gateway; then its own log, captured and replayed through it."""
    bench.begin("own logs")
    found = []
    with SimulatorProcess(SimConfig(slots=0, service_ms=SERVICE_MS)) as upstream:
        for name in bench.names:
            folder = bench.folder / f"logs-{name}"
            with started([name], bench.tools, upstream.url, folder) as gateways:
                found += [_one_log(bench, gateway, folder, seconds, rate) for gateway in gateways if gateway.log]
    return found


def _one_log(bench: Bench, gateway: Gateway, folder: Path, seconds: int, rate: float) -> Replayed:
    assert gateway.log is not None
    file = plan(folder / "plan.toml", "logs", [gateway], None)
    loaded = bench.product(
        "sweep", "--plan", file, "--no-control", *_sized(Sizes(int(seconds * rate / 2), (2,), 2), True)
    )
    sent = sum(level["requests"] for level in loaded.json.get("levels", []))
    _until_quiet(gateway.log)
    workload = folder / "own.parquet"
    captured = bench.product("capture", gateway.log, "--out", workload)
    if captured.code:
        return Replayed(gateway.name, sent, 0, "–", 0, 0, "–", captured.err.strip().splitlines()[-1])
    profile = bench.product("profile", workload).json
    words = ["--set", f"targets.0.headers={_inline(gateway.headers)}"] if gateway.headers else []
    again = bench.product(
        "replay", workload, "--url", gateway.url, "--model", MODEL, "--api-key-env", gateway.key_env, *words
    )
    (trial,) = again.json.get("trials") or [{}]
    said = next((f["title"] for f in again.json.get("fidelity") or [] if f["about"] == "replay"), "–")
    tokens = "counted" if profile.get("tokens", "exact") == "exact" else "guessed"
    return Replayed(gateway.name, sent, int(captured.json["kept"]), tokens, trial.get("requests", 0),
                    trial.get("ok", 0), said.partition(", ")[2] or said)  # fmt: skip


def _inline(headers: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{key}" = "{value}"' for key, value in headers.items()) + "}"


def _until_quiet(log: Path, seconds: float = 30.0) -> None:
    """LiteLLM posts its batches every few seconds; a log is whole when it has not grown for eight."""
    until, size, since = time.monotonic() + seconds, -1, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < 8:
        now = log.stat().st_size if log.exists() else -1
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.5)


@contextlib.contextmanager
def _once_it_runs(runs: Path, then: Callable[[], object]) -> Iterator[None]:
    """`then` as soon as a new run has begun: the questions that are asked before it must be answered."""
    before, stop = set(runs.glob("*/run.json")), threading.Event()

    def follow() -> None:
        while not stop.wait(0.05):
            if set(runs.glob("*/run.json")) - before:
                then()
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def faults(bench: Bench, requests: int, wanted: Mapping[str, str] = FAULTS) -> list[Faulty]:
    """Half of the upstream's answers go wrong; what the client of each gateway is told of it."""
    bench.begin("faults")
    found: list[Faulty] = []
    hasty = replace(bench.tools, patience_s=5)  # a gateway gives up before its client does, if it ever does
    with (
        SimulatorProcess(SimConfig(slots=0, service_ms=SERVICE_MS)) as upstream,
        started(bench.names, hasty, upstream.url, bench.folder / "faults") as gateways,
    ):
        warm(gateways)
        file = plan(bench.folder / "faults" / "plan.toml", "faults", gateways, upstream.url)
        limits = ["--set", "timeouts.first_byte_s=8", "--set", "timeouts.idle_s=8"]
        for name, fault in wanted.items():
            kind, _, rest = fault.partition(":")
            text = f"{kind}:share={FAULTY}" + (f",{rest}" if rest else "")
            words = ["compare", "--plan", file, *_sized(Sizes(requests, (4,), 2), True), *limits]
            with _once_it_runs(bench.product.home / "runs", lambda text=text: upstream.configure(faults=[text])):
                answer = bench.product(*words, "--set", "judge.confirm=false")
            upstream.configure(faults=[])
            found += list(_told(answer, name))
    return found


def _told(answer: Answer, fault: str) -> Iterator[Faulty]:
    for target in answer.json.get("targets", []):
        for level in target["levels"]:
            yield Faulty(fault, target["name"], level["requests"], level["ok"], dict(level["failed"]))


def as_dict(results: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [asdict(one) if is_dataclass(one) and not isinstance(one, type) else one for one in value]
        if isinstance(value, list)
        else value
        for key, value in results.items()
    }


KINDS: dict[str, type[Any]] = {"overhead": Added, "capacity": Able, "logs": Replayed, "faults": Faulty}
