"""Requests of a leg, written out."""

from typing import Any

import numpy as np
import polars as pl

from storage.files import polars_schema
from storage.records import Leg
from tests.fakes import records

MS = 1_000_000


def leg(leg_id: str, **changes: Any) -> Leg:
    return records.leg(**{"requests": 1, "leg_id": leg_id, "level": 2, "duration_s": 1.0, **changes})


def rows(leg_id: str, latencies_ms: list[float], **columns: Any) -> pl.DataFrame:
    """Requests of one leg, one after the other from 0; `columns` overrides any column with a value or a list."""
    n = len(latencies_ms)
    ends = np.cumsum(np.array(latencies_ms) * MS).astype(int).tolist()
    starts = [end - int(latency * MS) for end, latency in zip(ends, latencies_ms, strict=True)]
    values: dict[str, Any] = {
        "leg_id": leg_id, "trial_id": "t", "attempt": "first", "block": 1, "target": "gw", "level": 2,
        "seq": list(range(n)), "phase": "measured", "intended_ns": starts, "sent_ns": starts, "end_ns": ends,
        "stream": True, "status": 200, "model_asked": "m", **columns,
    }  # fmt: skip
    schema = polars_schema()
    full = {name: value if isinstance(value := values.get(name), list) else [value] * n for name in schema}
    return pl.DataFrame(full, schema=schema)
