"""The instrument beside every result: its floor, its ceiling, how much of it was used, and what it cannot see."""

from dataclasses import dataclass

from storage.records import Calibration, ceiling_of, shapes_of
from tasks.charts.words import listed, ms, number, place_words, share
from tasks.report.view import RunView, estimate, first_legs, levels, targets

MIN_EFFECT = 0.03  # of a plan that does not say


@dataclass(frozen=True)
class Beside:
    """What gatebench itself adds to the latencies of one (target, series, level), and how hard it had to work.

    Of a mix of shapes the higher floor stands. `used`: highest rate of its legs / the ceiling. `error_s`: floor p99 −
    floor p50, by which the instrument's own addition differs from one request to the next.
    """

    floor_p50_ms: float
    floor_p99_ms: float
    ceiling_rps: float
    used: float | None
    transport: str

    @property
    def error_s(self) -> float:
        return (self.floor_p99_ms - self.floor_p50_ms) / 1e3


def beside(view: RunView, target: str, series: str, level: int) -> Beside | None:
    """None where the shape of these requests was not calibrated."""
    legs = [leg for leg in first_legs(view, target) if (leg.series, leg.level) == (series, level)]
    transport = _transport(view, target)
    shapes = shapes_of(view.calibrations, transport, _streamed(view, target, series, level))
    one = ceiling_of(shapes)
    if not legs or one is None:
        return None
    ceilings = [one * max(1, len(leg.workers)) for leg in legs]  # calibrated with one worker
    rates = [(leg.health.achieved_rps, ceiling) for leg, ceiling in zip(legs, ceilings, strict=True)]
    floor = max((c for _, c in shapes), key=lambda c: c.floor_p50_ms)
    return Beside(
        floor.floor_p50_ms,
        max(c.floor_p99_ms for _, c in shapes),
        max(ceilings),
        max((rate / ceiling for rate, ceiling in rates if rate is not None), default=None),
        transport,
    )


def floor_words(found: Beside) -> str:
    """`0.31 ms`; a transport that is not our own is named."""
    over = "" if found.transport == "wire" else f" ({found.transport})"
    return f"{ms(found.floor_p50_ms / 1e3)}{over}"


def used_words(found: Beside) -> str:
    """`7 % of 14,000/s`."""
    of = f"{number(found.ceiling_rps)}/s"
    return f"– of {of}" if found.used is None else f"{share(found.used)} of {of}"


def calibration_words(calibration: Calibration) -> str:
    """`streaming: floor 0.31 ms (p99 0.92 ms), ceiling 14,000/s`; a transport that is not our own is named."""
    floor = f"{ms(calibration.floor_p50_ms / 1e3)} (p99 {ms(calibration.floor_p99_ms / 1e3)})"
    return f"{shape_words(calibration)}: floor {floor}, ceiling {number(calibration.ceiling_rps)}/s"


def shape_words(calibration: Calibration) -> str:
    """`streaming`, `plain`, `plain over httpx`."""
    over = "" if calibration.transport == "wire" else f" over {calibration.transport}"
    return f"{'streaming' if calibration.stream else 'plain'}{over}"


def instrument_words(view: RunView) -> str | None:
    """`streaming: floor …, ceiling …; used at most 7 %`; None without a calibration."""
    if not view.calibrations:
        return None
    used = [b.used for _, _, _, b in _all(view) if b.used is not None]
    text = "; ".join(calibration_words(c) for c in view.calibrations)
    ceiling = "it" if len(view.calibrations) == 1 else "a ceiling"
    return f"{text}; this run used {share(max(used))} of {ceiling} at most" if used else text


def blind_lines(view: RunView) -> list[str]:
    """Where the effect looked for is smaller than the instrument's own error: min_effect · p50 < floor p99 − floor p50.
    Such a change may be ours. One line a target."""
    effect = (view.run.plan.get("judge") or {}).get("min_effect", MIN_EFFECT)
    found: dict[str, list[tuple[str, float, Beside]]] = {}
    for target, series, level, mine in _all(view):
        p50 = estimate(view, target, series, level, "latency_p50")
        if p50 is not None and effect * p50.point < mine.error_s:
            found.setdefault(target, []).append((place_words(series, level), p50.point, mine))
    lines = []
    for target, places in found.items():
        _, p50_s, worst = max(places, key=lambda place: place[2].error_s / place[1])
        name = f"{target}: " if len(targets(view)) > 1 else ""
        lines.append(
            f"{name}{listed(place for place, _, _ in places)} changes below {share(worst.error_s / p50_s)} may be the "
            f"instrument's own (floor p50 {ms(worst.floor_p50_ms / 1e3)}, p99 {ms(worst.floor_p99_ms / 1e3)}), and "
            f"{share(effect)} is looked for"
        )
    return lines


def _all(view: RunView) -> list[tuple[str, str, int, Beside]]:
    places = [(target, series, level) for target in targets(view) for series, level in levels(view, target)]
    found = [(*place, beside(view, *place)) for place in places]
    return [(target, series, level, one) for target, series, level, one in found if one is not None]


def _transport(view: RunView, target: str) -> str:
    for known in view.run.plan.get("targets") or []:
        if known.get("name") == target:
            return str(known.get("transport", "wire"))
    return "wire"


def _streamed(view: RunView, target: str, series: str, level: int) -> float:
    """Share of streams among the requests; of a run that did not count them, what its legs say."""
    for facts in view.gateway:
        if (facts.attempt, facts.target, facts.series, facts.level) == ("first", target, series, level):
            return facts.streamed / facts.requests if facts.requests else 1.0
    legs = [leg for leg in first_legs(view, target) if (leg.series, leg.level) == (series, level)]
    return float(legs[0].stream) if legs else 1.0
