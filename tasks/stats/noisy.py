"""Is a setup too noisy to judge, and what would help? Words from components and outlook."""

from collections.abc import Sequence

from storage.records import NoisePart, Outlook

ALARMS = 0.025  # false alarms that a gate may raise at most
VISIBLE = 0.20  # who would not see so much has no gate
HELPS = {
    "host": "what a run has to itself (the machine, the upstream, the hour): a quieter machine and a control measured "
    "beside it help, more requests do not",
    "process": "what worker processes have to themselves: cores of their own for them help, more requests do not",
    "block": "what blocks have to themselves: more blocks help (sweep.blocks)",
    "request": "that the requests are a sample: more requests help (sweep.requests)",
}


def warnings(outlook: Sequence[Outlook]) -> list[str]:
    """Parts of a sentence; none for a setup that can be judged."""
    found = []
    worst = max(outlook, key=lambda o: o.false_alarms - 2 * o.error)
    if worst.false_alarms - 2 * worst.error > ALARMS:
        found.append(
            f"after {worst.nights} nights of history {_percent(worst.false_alarms, 1)} of quiet nights would be called "
            f"regressed ({_percent(ALARMS, 1)} is the most)"
        )
    last = max(outlook, key=lambda o: o.nights)
    for visible, what in ((last.visible, "a slowdown throughout"), (last.visible_tail, "a slower tail")):
        if visible is None or visible > VISIBLE:
            seen = "not even twice as slow" if visible is None else f"only +{_percent(visible)}"
            found.append(f"of {what} {seen} would be seen after {last.nights} nights (+{_percent(VISIBLE)} should be)")
    return found


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def shares(part: NoisePart, blocks: int) -> dict[str, float]:
    """Of the variance of a night, by source."""
    sources = {"host": part.host.sd**2, "block": part.block.sd**2 / blocks}
    if part.process is not None:
        sources["process"] = part.process.sd**2
    if part.request is not None:
        sources["request"] = part.request.sd**2 / blocks
    whole = sum(sources.values())
    return {name: value / whole for name, value in sources.items()} if whole > 0 else {}


def advice(parts: Sequence[NoisePart], blocks: int) -> str:
    """Where most of the spread of p95 latency comes from, over the levels where there are several."""
    mine = [part for part in parts if part.metric == "latency_p95"]
    share = shares(mine[-1], blocks) if mine else {}
    if not share:
        return ""
    most = max(share, key=lambda name: share[name])
    return f"{_percent(share[most])} of the variance of p95 latency is {HELPS[most]}"
