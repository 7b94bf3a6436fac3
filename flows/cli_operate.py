"""Commands that set things up: the simulator, a plan, the Prefect server and its deployments."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import cli_common as common
from flows.cli_common import Home, Json, Quiet

Shape = Literal["constant", "lognormal", "exponential"]


def register(app: typer.Typer) -> None:
    app.command()(simulate)
    app.command()(init)


def simulate(
    port: Annotated[int, typer.Option(help="0: any free port.")] = 8100,
    slots: Annotated[int, typer.Option(help="Requests served at a time; 0: no limit.")] = 32,
    service_ms: Annotated[float, typer.Option(help="Mean time a request holds its slot.")] = 40.0,
    distribution: Annotated[Shape, typer.Option(help="Of the service time.")] = "constant",
    cv: Annotated[float, typer.Option(help="Coefficient of variation of a lognormal service time.")] = 0.3,
    first_token_ms: Annotated[float | None, typer.Option(help="Streams: time to the first token.")] = None,
    per_token_ms: Annotated[float | None, typer.Option(help="Streams: time a further token.")] = None,
    queue: Annotated[int, typer.Option(help="Requests that may wait; 0: no limit; a full queue answers 429.")] = 0,
    model: Annotated[list[str] | None, typer.Option(help="Models it serves; absent: any.")] = None,
    seed: Annotated[int, typer.Option()] = 1,
    fault: Annotated[
        list[str] | None, typer.Option(help="As in slow:factor=1.5,share=0.1 or rate_limited:share=0.05; repeatable.")
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """An OpenAI-compatible gateway with known capacity, latency and faults. Ctrl-C stops it.

    Example: `gatebench simulate --port 8100 --slots 32 --service-ms 40`
    """
    common.enter(home)
    import time

    common.stop_on_signals()
    from tasks.simulator.model import Distribution, SimConfig, parse_fault
    from tasks.simulator.process import SimulatorProcess

    config = SimConfig(
        port=port,
        slots=slots,
        service_ms=service_ms,
        distribution=Distribution(distribution),
        cv=cv,
        first_token_ms=first_token_ms,
        per_token_ms=per_token_ms,
        queue_limit=queue,
        models=tuple(model or ()),
        seed=seed,
        faults=tuple(parse_fault(text) for text in fault or ()),
    )
    with SimulatorProcess(config) as simulator:
        try:
            if not quiet and json != "-":
                typer.echo(f"simulating an OpenAI-compatible gateway at {simulator.url}; Ctrl-C stops it", err=True)
            while simulator.pid is not None:
                time.sleep(0.5)
        except KeyboardInterrupt:
            found = simulator.stats()
            common.write_json(json, {"schema": "gatebench.simulate/1", **found})
            if not quiet and json != "-":
                capacity = found["capacity_rps"]
                able = f", true capacity {capacity:,.1f} requests/s" if capacity else ""
                typer.echo(f"\nserved {found['requests']} requests{able}", err=True)
    return 0


def init(
    out: Annotated[Path, typer.Option(help="Plan to write.")] = Path("gatebench-plan.toml"),
    name: Annotated[str, typer.Option(help="Name of the plan.")] = "my-gateway",
    url: Annotated[str, typer.Option(help="OpenAI base URL of the gateway.")] = "http://127.0.0.1:4000/v1",
    model: Annotated[str, typer.Option(help="Model to ask for.")] = "default",
    force: Annotated[bool, typer.Option(help="Overwrite.")] = False,
    json: Json = None,
    quiet: Quiet = False,
    home: Home = None,
) -> int:
    """Write a commented plan for a target.

    Example: `gatebench init --url http://127.0.0.1:4000/v1 --model gpt-4o-mini`
    """
    common.enter(home)
    from config.template import plan_text
    from storage.disk import give
    from storage.errors import UsageError

    if out.exists() and not force:
        raise UsageError(f"{out} is there already; --force overwrites it, --out names another")
    give(out, plan_text(name, url, model))
    common.write_json(json, {"schema": "gatebench.init/1", "plan": str(out)})
    if not quiet and json != "-":
        typer.echo(f"wrote {out}; next: `gatebench nightly --plan {out} --dry-run`")
    return 0
