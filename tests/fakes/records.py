"""An ordinary night and an ordinary leg of it; a test names the facts that matter to it."""

from dataclasses import replace
from typing import Any

from storage.records import Health, Leg, Run

QUIET = Health(0.05, 0.4, 1.0, 0.3, 0.2, None, 200.0, 0, 40, 1024)  # an instrument that was no limit
RUN = Run(
    run_id="r7",
    flow="nightly",
    plan_name="nightly",
    status="completed",
    scheduled=True,
    started_at="2026-03-08T03:30:00+00:00",
    ended_at="2026-03-08T03:41:00+00:00",
    verdict="unchanged",
    exit_code=0,
    reason=None,
    workload_id="w1",
    seed=7,
    fingerprint="f1",
    plan={},
    environment={"cores": 2},
    path="/data/runs/r7",
)
LEG = Leg(
    run_id="r7",
    trial_id="gw-sweep-10",
    leg_id="first-b1-gw-c10",
    attempt="first",
    block=1,
    target="gw",
    series="sweep",
    level=10,
    loop="closed",
    stream=True,
    url="http://127.0.0.1:4000/v1",
    model="m",
    seed=7,
    workload_id="w1",
    started_at="2026-03-08T03:31:00+00:00",
    duration_s=10.0,
    scheduled=100,
    rows=100,
    measured=100,
    ok=100,
    failed={},
    dropped=0,
    lost=0,
    validity="valid",
    reasons=[],
    stopped=None,
    health=QUIET,
)


def run(**changes: Any) -> Run:
    return replace(RUN, **changes)


def begun(**changes: Any) -> Run:
    """A night that goes on."""
    return run(**{"status": "running", "ended_at": None, "verdict": None, "exit_code": None, **changes})


def leg(*, requests: int = 100, **changes: Any) -> Leg:
    """`requests`: sent, measured and ok."""
    counts = dict.fromkeys(("scheduled", "rows", "measured", "ok"), requests)
    return replace(LEG, **{**counts, **changes})
