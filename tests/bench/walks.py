"""Night after night on one frozen anchor, through the gate and the drift together, as the flow does it."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from storage.records import Drift, Word
from tasks.stats.drift import cusum, raised
from tasks.stats.gate import candidates, judge, overall
from tests.fakes.noise import LEVELS, Floats, World, frame, tail, world

ANCHOR = 30
NIGHTS = 20


def worlds(seed: int, count: int) -> list[World]:
    rng = np.random.default_rng(seed)
    return [world(rng, ANCHOR, tonights=NIGHTS) for _ in range(count)]


def walk(found: World, shifts: Sequence[Floats], *, control: bool) -> Iterator[tuple[bool, bool]]:
    """(regressed by the gate, by gate or drift) of each night after the anchor, the night's shift laid on it."""
    name = "control" if control else None

    def rows(at: int, change: Floats | float, levels: tuple[int, ...] = LEVELS) -> pl.DataFrame:
        one = slice(at, at + 1)
        return frame(found.target[one] + change, found.control[one] if control else None, first=at, levels=levels)

    past = frame(found.target[:ANCHOR], found.control[:ANCHOR] if control else None)
    before: list[Drift] = []
    for k, shift in enumerate(shifts):
        now = rows(ANCHOR + k, shift)
        verdicts = judge(past, now, control=name)
        levels = dict(candidates(verdicts)).get("gw")
        if levels:
            again = rows(ANCHOR + NIGHTS + k, shift, tuple(levels))
            verdicts = judge(past, now, confirm=again, control=name)
        drifts = cusum(past, now, control=name, before=before)
        before += drifts
        yield overall(verdicts) == Word.REGRESSED, overall(raised(verdicts, drifts, {})) == Word.REGRESSED


def quiet(found: World, *, control: bool) -> tuple[float, float]:
    """(share of quiet nights that the gate calls regressed, that gate and drift together do)."""
    words = list(walk(found, [tail(0.0)] * NIGHTS, control=control))
    return float(np.mean([gate for gate, _ in words])), float(np.mean([both for _, both in words]))


def first_night(found: World, shifts: Sequence[Floats], *, control: bool) -> int:
    """1: the first night of the change; one more than all nights where it was not found."""
    words = walk(found, shifts, control=control)
    return next((k + 1 for k, (_, both) in enumerate(words) if both), len(shifts) + 1)


def step(d: float, nights: int = 7) -> list[Floats]:
    return [tail(d)] * nights


def creep(d: float) -> list[Floats]:
    """The tail slower by d more every night."""
    return [tail((1 + d) ** (k + 1) - 1) for k in range(NIGHTS)]
