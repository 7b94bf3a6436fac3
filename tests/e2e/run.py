"""Real gateways, end to end: `make e2e`, or `python -m tests.e2e.run --help`.

LiteLLM, Portkey, nginx, Envoy and Ferro in front of our simulator and of a small real model, all on this machine: what
each adds, how much it can take, whether its own log can be captured and replayed, what becomes of faults. What it
needs is installed by pip and npm below --folder (about 1.5 GB with LiteLLM); nothing of it is part of the product.
"""

import argparse
import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.machine import environment
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.e2e import installing, table, trials
from tests.e2e.gateways import GATEWAYS, MODEL, Tools, own_version, started
from tests.e2e.processes import free_port, running, said
from tests.e2e.product import product
from tests.e2e.trials import Bench, Sizes

PARTS = ("overhead", "capacity", "logs", "faults")
# Prompts of 60 tokens, answers of 16, so that a request takes the small model about 0.2 s.
TRAFFIC = "time,model,input,output,stream\n" + "".join(f"{k * 0.25:.2f},{MODEL},60,16,true\n" for k in range(60))
MAPPING = "offset=time:s,model=model,input_tokens=input,output_tokens=output,max_output_tokens=output,stream=stream"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.e2e.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gateways", default=",".join(GATEWAYS), help="comma-separated, of " + ", ".join(GATEWAYS))
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, of " + ", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=Path(".venv-e2e"), help="where everything is installed and kept")
    parser.add_argument("--requests", type=int, default=300, help="measured at each level of the comparisons")
    parser.add_argument("--model", type=Path, help="a GGUF file; absent: SmolLM2-135M, as a wheel; none: no real model")
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's server; absent: installed as a wheel")
    parser.add_argument("--llama-version", help="of that wheel, where the newest does not run on this CPU")
    for name in ("litellm", "envoy", "ferro"):
        parser.add_argument(f"--{name}", type=Path, help="its command; absent: installed as a wheel")
    parser.add_argument("--json", type=Path, help="write the results here too, beside parts measured before")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")
    return parser.parse_args()


def main() -> None:
    asked = options()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tools = Tools(
        folder, *(None if path is None else path.resolve() for path in (asked.litellm, asked.envoy, asked.ferro))
    )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    work = folder / "runs" / stamp
    names = [name for name in asked.gateways.split(",") if name]
    results = _begun(asked, work)
    found, names = _versions(names, tools, work)
    results["versions"].update(found)
    loads = results["loads"]
    with product(work / "home") as command:
        bench = Bench(command, tools, names, work)
        for part in asked.parts.split(","):
            loads[:] = [one for one in loads if one["part"] != part]
            bench.noting(part, loads)
            results[part] = MEASURE[part](bench, asked, results["versions"])
            _keep(results, asked, work)


def _begun(asked: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Nothing yet, or what an earlier call left in --json: a part that is measured again takes the place of the old."""
    results: dict[str, Any] = {"loads": [], "versions": {}, **{part: [] for part in PARTS}}
    if asked.json is not None and asked.json.is_file():
        before = json.loads(asked.json.read_text(encoding="utf-8"))
        results |= {"loads": before["loads"], "versions": before["versions"]}
        for part, kind in trials.KINDS.items():
            results[part] = [kind(**one) for one in before[part]]
    results["date"], results["machine"] = f"{datetime.now(UTC):%Y-%m-%d}", _machine(work)
    return results


def _capacities(bench: Bench, asked: argparse.Namespace, versions: dict[str, str]) -> list[trials.Able]:
    sizes = Sizes(640, (4, 16, 64))  # the fewest that the highest level takes in five blocks
    return [one for stream in (False, True) for one in trials.capacity(bench, sizes, stream)]


def _overheads(bench: Bench, asked: argparse.Namespace, versions: dict[str, str]) -> list[trials.Added]:
    found = []
    with SimulatorProcess(SimConfig(slots=0, service_ms=trials.SERVICE_MS)) as upstream:
        for stream in (False, True):
            found += trials.overhead(bench, "simulator", upstream.url, Sizes(asked.requests, (1, 8)), stream, None)
    with _real_model(asked, bench, versions) as url:
        if url is not None:
            traffic = bench.folder / "traffic.csv"
            traffic.write_text(TRAFFIC, encoding="utf-8")
            workload = bench.folder / "traffic.parquet"
            bench.product("capture", traffic, "--out", workload, "--map", MAPPING)
            found += trials.overhead(bench, "model", url, Sizes(asked.requests // 2, (1, 2)), True, workload)
    return found


@contextlib.contextmanager
def _real_model(asked: argparse.Namespace, bench: Bench, versions: dict[str, str]) -> Iterator[str | None]:
    """The base URL of llama.cpp's server; None, and why, where it cannot be had."""
    if asked.model == Path("none"):
        yield None
        return
    try:
        server = asked.llama_server or installing.model_server(bench.tools.folder, asked.llama_version)
        model = asked.model or installing.model(bench.tools.folder)
    except installing.Missing as error:
        print(f"left out: {error}", flush=True)
        yield None
        return
    port = free_port()
    # One thread: with two on two cores decoding flips between two speeds. No prompt cache: each prompt is read anew.
    words = [str(server.resolve()), "--host", "127.0.0.1", "--port", str(port), "-m", str(model.resolve()), "-a", MODEL]
    words += ["--device", "none", "-ngl", "0", "-t", "1", "-np", "2", "-c", "4096", "--no-ui", "--cache-ram", "0"]
    libraries = {"LD_LIBRARY_PATH": str(server.resolve().parent)}
    told = said([str(server.resolve()), "--version"], {**os.environ, **libraries})
    own = told.removeprefix("version: ").partition(" (")[0]
    versions["llama.cpp"] = installing.model_server_version(server) or own
    versions["model"] = model.stem
    with running(words, f"http://127.0.0.1:{port}/health", bench.folder, "llama", **libraries):
        yield f"http://127.0.0.1:{port}/v1"


def _versions(names: list[str], tools: Tools, work: Path) -> tuple[dict[str, str], list[str]]:
    """Each gateway started once, which installs it: what cannot be had is left out from here on."""
    versions, had = {"gatebench": own_version()}, []
    for name in names:
        with started([name], tools, "http://127.0.0.1:9/v1", work / "versions") as gateways:
            for gateway in gateways:
                versions[gateway.name] = gateway.version
                had.append(name)
    return versions, had


def _machine(work: Path) -> str:
    facts = environment(home=work, packages=(), engine_version=0)
    return f"{facts['cores']} cores of {facts['cpu_model']}, {facts['os']}, Python {platform.python_version()}"


def _keep(results: dict[str, Any], asked: argparse.Namespace, work: Path) -> None:
    text = table.whole(results)
    raw = json.dumps(trials.as_dict(results), indent=1, ensure_ascii=False)
    (work / "results.json").write_text(raw, encoding="utf-8")
    if asked.json is not None:
        asked.json.write_text(raw, encoding="utf-8")
    if asked.markdown is not None:
        asked.markdown.write_text(text, encoding="utf-8")
    print(f"\n{text}\nkept in {os.path.relpath(work)}", flush=True)


MEASURE: dict[str, Callable[[Bench, argparse.Namespace, dict[str, str]], list[Any]]] = {
    "overhead": _overheads,
    "capacity": _capacities,
    "logs": lambda bench, asked, versions: trials.own_logs(bench, 20, 10.0),
    "faults": lambda bench, asked, versions: trials.faults(bench, 40),
}

if __name__ == "__main__":
    main()
