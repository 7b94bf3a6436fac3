"""What `--json` writes of the rates that were tried in a search for the ceiling. Pure."""

from dataclasses import asdict
from typing import Any

from storage.records import RateProbe
from tasks.report.view import RunView


def sustained_json(view: RunView, target: str) -> dict[str, Any]:
    """`sustainable_rps` is an estimate like every other, null where no rate was kept up with or none was tried."""
    found = next((one for one in view.sustained if one.target == target), None)
    if found is None:
        return {"sustainable_rps": None, "sustainable": None, "rates": []}
    return {
        "sustainable_rps": None if found.rate_rps is None else asdict(found.rate_rps),
        "sustainable": {name: getattr(found, name) for name in ("reached", "limited_by", "confirmed", "why")},
        "rates": [_rate(probe) for probe in found.probes],
    }


def _rate(probe: RateProbe) -> dict[str, Any]:
    """Times in ms, as everywhere in a JSON."""
    raw = asdict(probe)
    p95 = raw.pop("latency_p95_s")
    del raw["target"]
    return raw | {"latency_p95_ms": None if p95 is None else p95 * 1e3}
