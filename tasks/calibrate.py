"""What the instrument itself costs: the same engine, the same shape of request, a responder that answers at once."""

from dataclasses import replace
from pathlib import Path

import polars as pl
from prefect import task

from storage.errors import GatebenchError
from storage.files import RunFiles
from storage.records import Calibration, Leg, Phase, Series
from tasks.again import ONCE
from tasks.load.lags import quantile
from tasks.load.spec import LegSpec
from tasks.measure import FLEET

FLOOR_REQUESTS = 300
CEILING_REQUESTS = 3000
CEILING_LEVEL = 64


@task(name="calibrate", task_run_name="calibrate", **ONCE)
async def calibrate(spec: LegSpec, runs_path: str) -> Calibration:
    """Floor at one request at a time, ceiling at CEILING_LEVEL, of the spec's shape: streamed or plain, over its
    transport. `spec` names the null responder as its target."""
    files = RunFiles(Path(runs_path), spec.run_id)
    floor = await _leg(spec, files, "floor", 1, FLOOR_REQUESTS)
    ceiling = await _leg(spec, files, "ceiling", CEILING_LEVEL, CEILING_REQUESTS)
    latencies = _latencies(files, floor)
    p50, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
    if p50 is None or p99 is None or ceiling.health.achieved_rps is None:
        raise GatebenchError("calibration measured nothing: gatebench's own responder did not answer; run it again")
    return Calibration(
        stream=spec.stream is not False,
        floor_p50_ms=p50 / 1e6,
        floor_p99_ms=p99 / 1e6,
        ceiling_rps=ceiling.health.achieved_rps,
        lag_p50_ms=floor.health.schedule_lag_p50_ms,
        lag_p99_ms=floor.health.schedule_lag_p99_ms,
        lag_max_ms=floor.health.schedule_lag_max_ms,
        transport=spec.target.transport,
    )


async def _leg(spec: LegSpec, files: RunFiles, name: str, level: int, requests: int) -> Leg:
    shape = f"{'stream' if spec.stream is not False else 'plain'}-{spec.target.transport}"
    leg_id = f"calibration-{shape}-{name}"
    return await FLEET.get().run(
        replace(
            spec,
            leg_id=leg_id,
            trial_id=leg_id,
            series=Series.CALIBRATION,
            level=level,
            requests=requests,
            folder=str(files.leg_folder(leg_id)),
        )
    )


def _latencies(files: RunFiles, leg: Leg) -> list[int]:
    rows = files.samples().filter(
        pl.col("leg_id") == leg.leg_id, pl.col("phase") == Phase.MEASURED, pl.col("failure").is_null()
    )
    return rows.select(pl.col("end_ns") - pl.col("sent_ns")).collect()["end_ns"].to_list()
