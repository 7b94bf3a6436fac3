"""Objectives against estimates. No data never passes."""

from collections.abc import Mapping, Sequence

from storage.records import CONTROL, Attempt, Cell, Estimate, Series, Slo, SloResult

OPEN = (Series.REPLAY, Series.LOAD)


def check(slos: Sequence[Slo], cells: Sequence[Cell]) -> list[SloResult]:
    """An unscoped objective judges the replay and the load of each target, a scoped one that level of the sweep.

    An unscoped one in a run that only swept judges nothing (it defines goodput there); a scoped one whose level was not
    swept, or a metric that has no estimate, is `ok = None`. In an open loop latency counts from when a request was due:
    one that waited for room at max_in_flight waited all the same.
    """
    first = [cell for cell in cells if cell.attempt == Attempt.FIRST and cell.target != CONTROL]
    found = []
    for target in dict.fromkeys(cell.target for cell in first):
        mine = [cell for cell in first if cell.target == target]
        for slo in slos:
            for series, level in _places(slo, mine):
                estimates = {c.metric: c.estimate for c in mine if (c.series, c.level) == (series, level)}
                estimate = next((estimates[name] for name in _metrics(slo, series) if name in estimates), None)
                found.append(
                    SloResult(
                        slo, target, series, level, None if estimate is None else estimate.point, _ok(slo, estimate)
                    )
                )
    return found


def broken(slos: Sequence[Slo], estimates: Mapping[str, Estimate], series: str) -> list[str]:
    """Which unscoped objectives the estimates of one trial do not keep, in words. No data keeps none."""
    lost = []
    for slo in slos:
        estimate = next((estimates[name] for name in _metrics(slo, series) if name in estimates), None)
        if slo.level is None and _ok(slo, estimate) is not True:
            measured = "nothing to judge it by" if estimate is None else f"measured {estimate.point * 1e3:,.3g} ms"
            lost.append(f"{slo.text}: {measured}")
    return lost


def _metrics(slo: Slo, series: str) -> list[str]:
    """What the objective is about; the first that there is."""
    if slo.quantity == "errors":
        return ["errors"]
    from_due = [f"response_{slo.stat}"] if slo.quantity == "latency" and series in OPEN else []
    return [*from_due, f"{slo.quantity}_{slo.stat}"]


def _places(slo: Slo, cells: Sequence[Cell]) -> list[tuple[str, int]]:
    if slo.level is not None:
        swept = any(cell.series == Series.SWEEP for cell in cells)
        return [(Series.SWEEP.value, slo.level)] if swept else []
    return [(series.value, 0) for series in OPEN if any(cell.series == series for cell in cells)]


def _ok(slo: Slo, estimate: Estimate | None) -> bool | None:
    if estimate is None:
        return None
    equal_is_kept = "<=" in slo.text
    if estimate.point > slo.threshold or (estimate.point == slo.threshold and not equal_is_kept):
        return False
    return None if estimate.at_least else True
