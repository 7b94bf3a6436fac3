"""How true a run's replays were and how like its source the traffic is, as the page and the messages say it."""

from typing import Any

from tasks.report.profile import like_rows
from tasks.report.view import RunView

NAMES = {
    "replay": "replay",
    "workload": "synthetic workload",
    "new traffic": "new traffic",
    "capture": "new logs",
}


def truth_lines(view: RunView) -> list[str]:
    """`replay against gw: 240 sent of 240 due, as recorded`; what is outside its limits says so."""
    return [
        _said(r) if r["about"] == "replay" else f"{NAMES[r['about']]}: {_said(r)}"
        for r in view.fidelity
        if r["about"] in NAMES
    ]


def truth_tables(view: RunView) -> list[dict[str, Any]]:
    """Each report with its measures, for the page."""
    return [{"name": NAMES[r["about"]], **like_rows(r)} for r in view.fidelity if r["about"] in NAMES]


def moved_line(view: RunView) -> str | None:
    """What to do where the newest traffic is not like the pinned workload any more, or could not be captured."""
    found = next((r for r in view.fidelity if r["about"] in ("new traffic", "capture") and not r["ok"]), None)
    return None if found is None else _said(found)


def _said(report: dict[str, Any]) -> str:
    if report["about"] == "new traffic" and not report["ok"]:
        return f"the workload has moved: re-pin with {report['repin']}; {report['title']}"
    return str(report["title"])
