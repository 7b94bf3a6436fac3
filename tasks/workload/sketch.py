"""A profile alone -> a workload like the one it was made of, as far as a profile can tell. Pure, seeded.

The finest rate curve gives each step its count; inside a step the gaps are drawn from the profile's gap quantiles and
fitted to the step. Rows are the profile's own sample of joint rows. A workload that can still be read makes a better
copy (`synthesis`): bursts across steps, the order of sizes and sessions are not in a profile.
"""

from random import Random
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storage.errors import UsageError
from tasks.workload.profile import ROW_FIELDS, SCHEMA
from tasks.workload.synthesis import balanced
from tasks.workload.trace import SCHEMA as COLUMNS
from tasks.workload.trace import Header, Workload, of_frame


def sketch(profile: dict[str, Any], seed: int) -> Workload:
    """As many requests as the profile counts, over the same span. Raises UsageError for what is no profile, or one of
    fewer than two requests."""
    if profile.get("schema") != SCHEMA or "rows" not in profile:
        raise UsageError("this is no profile with rows; `gatebench profile W.parquet --json PROFILE.json` makes one")
    curves = sorted(profile["rates"], key=lambda curve: int(curve["step_s"]))
    if not curves or profile["gaps"] is None:
        raise UsageError(f"the profile of {profile['name']!r} has fewer than two requests: nothing can be made of it")
    rng = Random(seed)
    starts = _starts(curves[0], profile["gaps"]["quantiles_s"], round(profile["span_s"] * 1e9), rng)
    rows = pl.DataFrame(profile["rows"], schema={name: COLUMNS[name] for name in ROW_FIELDS}, orient="row")
    drawn = rows[balanced(rows.height, len(starts), rng)].with_columns(offset_ns=pl.Series(starts))
    absent = [pl.lit(None, COLUMNS[name]).alias(name) for name in COLUMNS if name not in drawn.columns]
    method = "a profile's rate curve, gap quantiles and joint rows"
    header = Header(
        name=f"{profile['name']}-sketch-{seed}",
        formats=("synthetic",),
        arrival_basis=f"synthetic, seed {seed}: {method}",
        resolution_ns=1,
        parent=profile["workload_id"],
        seed=seed,
        method=method,
    )
    return of_frame(drawn.with_columns(absent), header)


def _starts(curve: dict[str, Any], quantiles: dict[str, float], span_ns: int, rng: Random) -> NDArray[np.int64]:
    levels = np.array([float(name.removeprefix("p")) / 100 for name in quantiles])
    values = np.array(list(quantiles.values()))
    width = int(curve["step_s"]) * 10**9
    starts = []
    for step, count in enumerate(curve["counts"]):
        left, right = step * width, min((step + 1) * width, span_ns + 1)
        gaps = np.interp([rng.random() for _ in range(count + 1)], levels, values)
        gaps = gaps if gaps.sum() > 0 else np.ones(count + 1)
        starts.append(left + np.floor(np.cumsum(gaps)[:-1] / gaps.sum() * (right - left)))
    return np.concatenate(starts).astype(np.int64)
