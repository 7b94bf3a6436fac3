"""Does the gate keep its marks? `python tests/bench/power.py [--nights-simulated N] [--seed S] [--otava-python EXE]`.

Every line judges N nights, each with a history of its own, through the same `judge` that the flow calls, with the
second measurement where there is a candidate. The noise is `tests.fakes.noise.world`. Shares are in % of nights, with
the Monte-Carlo error of one sd. Exit code 1 when a share lies beyond its mark, by however little.

Beside it the rules that people use, Apache Otava among them where it can be had: as the extra `gatebench[otava]`, or in
a Python of its own named by --otava-python or OTAVA_PYTHON.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import norm
from scipy.stats import t as student

from storage.records import Word
from tasks.stats.blocks import log_mean
from tasks.stats.gate import CANDIDATE, candidates, judge, overall
from tests.bench import walks
from tests.fakes.noise import LEVELS, Floats, World, ar1, frame, quantile, tail, world

NIGHTS = 30
BENCHER = "t interval .99 a metric (Bencher's example)"
OTAVA = f"Apache Otava, p .001, {2 * NIGHTS} nights"


@dataclass(frozen=True, slots=True)
class Night:
    word: Word
    looked_again: bool
    covered: float  # share of the prediction intervals that hold an unchanged night


def judged(found: World, shift: Floats, *, control: bool, nights: int = NIGHTS) -> Night:
    """Tonight with `shift` laid on (level, metric), against the last `nights` of the history, and once more at the
    candidate levels where there are any."""
    last = len(found.target) - 2
    name = "control" if control else None

    def rows(at: slice, levels: tuple[int, ...] = LEVELS, change: Floats | float = 0.0) -> pl.DataFrame:
        return frame(found.target[at] + change, found.control[at] if control else None, first=at.start, levels=levels)

    past, now = rows(slice(last - nights, last)), rows(slice(last, last + 1), change=shift)
    verdicts = judge(past, now, control=name)
    again = dict(candidates(verdicts)).get("gw")
    held = [v.lower <= 0 <= v.upper for v in verdicts if v.lower is not None and v.upper is not None]
    if again:
        confirm = rows(slice(last + 1, last + 2), tuple(again), shift)
        verdicts = judge(past, now, confirm=confirm, control=name)
    assert not any(v.reason == CANDIDATE for v in verdicts if again)
    return Night(overall(verdicts), bool(again), float(np.mean(held)))


def worlds(seed: int, count: int, **how: float) -> list[World]:
    rng = np.random.default_rng(seed)
    return [world(rng, NIGHTS, **how) for _ in range(count)]  # type: ignore[arg-type]


# --- the rules people use, on the same nights ---------------------------------------------------------------------


def bencher(found: World, shift: Floats) -> bool:
    """A one-sided t prediction interval at .99 a metric, on the logarithm."""
    past, now = found.target[:NIGHTS], found.target[NIGHTS] + shift
    t = (now - past.mean(axis=0)) / (past.std(axis=0, ddof=1) * np.sqrt(1 + 1 / NIGHTS))
    t[:, -1] *= -1
    return bool((t > student.ppf(0.99, NIGHTS - 1)).any())


def otava(python: str, found: Sequence[World], shift: Floats) -> list[bool]:
    """E-divisive at p .001 over all nights of each world, tonight last, in another process."""
    last = len(found[0].target) - 1
    logs = np.stack([one.target[:last] for one in found])  # case, night, level, metric
    logs[:, -1] += shift
    logs[..., -1] *= -1  # throughput: up is worse
    cases = np.exp(logs).reshape(len(found), last, -1).transpose(0, 2, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nights.npy"
        np.save(file, cases)
        script = Path(__file__).with_name("otava_nights.py")
        done = subprocess.run([python, str(script), str(file)], capture_output=True, text=True, check=True)
    return [bool(alarm) for alarm in json.loads(done.stdout)]


def otava_python(asked: str | None) -> str | None:
    """The Python that has Otava; None: nobody has."""
    if asked or os.environ.get("OTAVA_PYTHON"):
        return asked or os.environ["OTAVA_PYTHON"]
    return sys.executable if importlib.util.find_spec("otava") else None


def yesterday(found: World, shift: Floats) -> bool:
    """Any metric worse than the night before by 10 %."""
    step = found.target[NIGHTS] + shift - found.target[NIGHTS - 1]
    step[:, -1] *= -1
    return bool((step > np.log(1.1)).any())


# --- errors ---------------------------------------------------------------------------------------------------------


def error_nights(rng: np.random.Generator, count: int, rate: float, factor: float, nights: int) -> Iterator[Word]:
    """Failures of 1,000 requests at each level: the night's probability is Beta with mean `rate` and correlation .0008,
    and stays for the second measurement; tonight's is `factor` times as high."""
    total = (1 - 0.0008) / 0.0008
    names = [(night, level) for night in range(nights) for level in LEVELS]

    def rows(keys: Sequence[tuple[int, int]], failures: Sequence[int]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "night": [night for night, _ in keys],
                "level": [level for _, level in keys],
                "value": [float(k) for k in failures],
            },
            schema={"night": pl.Int64, "level": pl.Int64, "value": pl.Float64},
        ).with_columns(
            pl.lit("gw").alias("target"),
            pl.lit("sweep").alias("series"),
            pl.lit("errors").alias("metric"),
            pl.lit(1000).alias("n"),
        )

    for _ in range(count):
        p = rng.beta(rate * total, (1 - rate) * total, (nights + 1, len(LEVELS)))
        p[-1] = np.minimum(1, factor * p[-1])
        failures = rng.binomial(1000, p)
        history, keys = rows(names, failures[:-1].ravel().tolist()), [(nights, level) for level in LEVELS]
        tonight, second = failures[-1].tolist(), rng.binomial(1000, p[-1]).tolist()
        verdicts = judge(history, rows(keys, tonight))
        if candidates(verdicts):
            verdicts = judge(history, rows(keys, tonight), confirm=rows(keys, second))
        yield overall(verdicts)


def best_at_errors(rng: np.random.Generator, rate: float, factor: float, count: int = 200_000) -> float:
    """Share of nights on which the best of all tests finds `factor`, at the 1 % of false alarms that the mark allows.

    It knows the rate, and that levels are independent. Failures are then close to negative binomial with one shape for
    all, so that by Neyman and Pearson their sum over the levels tells best. About: counts are whole numbers, so it
    alarms on somewhat less than 1 %.
    """
    total = (1 - 0.0008) / 0.0008
    p = rng.beta(rate * total, (1 - rate) * total, (count, len(LEVELS)))
    quiet, worse = (rng.binomial(1000, np.minimum(1, k * p)).sum(axis=1) for k in (1.0, factor))
    return float(np.mean(worse > np.quantile(quiet, 0.99)))


# --- the block interval -------------------------------------------------------------------------------------------


def block_coverage(rng: np.random.Generator, count: int, q: float) -> Floats:
    """Does the interval of 5 blocks of 200 requests hold tonight's quantile? AR(1) .4, σ .3, block sd 2.5 %."""
    logs = 0.3 * ar1(rng, (count, 5, 200), 0.4) + rng.normal(0, 0.025, (count, 5, 1))
    truth, blocks = np.exp(0.3 * norm.ppf(q)), np.exp(quantile(logs, q))
    found = [log_mean(row, 1000) for row in blocks.tolist()]
    return np.array([e.lower <= truth <= e.upper for e in found if e.lower is not None and e.upper is not None], float)


# --- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A share of nights in % beside its mark; with `nights`, how many it took: the median and the quarter points."""

    name: str
    values: Floats
    least: float | None = None
    most: float | None = None
    nights: bool = False

    @property
    def value(self) -> float:
        return float(np.median(self.values)) if self.nights else 100 * float(np.mean(self.values))

    @property
    def missed(self) -> bool:
        return (self.least is not None and self.value < self.least) or (
            self.most is not None and self.value > self.most
        )

    def __str__(self) -> str:
        low, high = np.quantile(self.values, (0.25, 0.75))
        error = 100 * float(np.std(self.values)) / np.sqrt(len(self.values))
        spread = f"({low:g}–{high:g})" if self.nights else f"± {error:4.2f}"
        bars = (("≥", self.least), ("≤", self.most))
        bar = " and ".join(f"{sign} {b:g}" for sign, b in bars if b is not None)
        return f"{self.name:64} {self.value:6.2f} {spread:8} {bar:16} {'MISSED' if self.missed else ''}"


@dataclass(frozen=True, slots=True)
class Better:
    """A mark of two lines: ours has the lower (`less`) or the higher share."""

    ours: str
    theirs: str
    less: bool

    def told(self, shares: Mapping[str, float]) -> tuple[bool, str]:
        us, them = shares[self.ours], shares[self.theirs]
        bad = us >= them if self.less else us <= them
        return bad, f"  ours {us:.2f} against {them:.2f}{'   MISSED' if bad else ''}"


Told = list[Line | Better | str]


def shares(values: Iterable[float]) -> Floats:
    return np.array(list(values), float)


def gate_part(seed: int, count: int, *, name: str, control: bool, marks: bool, **how: float) -> Told:
    found, none = worlds(seed, count, **how), tail(0.0)
    quiet = [judged(one, none, control=control) for one in found]
    told: Told = [
        Line(
            f"{name}: false alarms",
            shares(n.word == Word.REGRESSED for n in quiet),
            most=(1.0 if control else 2.5) if marks else None,
        ),
        Line(f"{name}: false 'improved'", shares(n.word == Word.IMPROVED for n in quiet)),
        Line(f"{name}: quiet nights that are measured once more", shares(n.looked_again for n in quiet)),
        Line(f"{name}: quiet nights called inconclusive", shares(n.word == Word.INCONCLUSIVE for n in quiet)),
        Line(
            f"{name}: prediction interval covers",
            shares(n.covered for n in quiet),
            *((93, 97) if marks else (None, None)),
        ),
    ]
    changes = [("tail +5 %", tail(0.05), None), ("tail +10 %", tail(0.10), 90), ("tail +20 %", tail(0.20), 99)]
    changes.append(("one level +20 %", tail(0.20, (100,)), 85))
    for what, shift, least in changes:
        words = shares(judged(one, shift, control=control).word == Word.REGRESSED for one in found)
        told.append(Line(f"{name}: {what} found the first night", words, least=least if control and marks else None))
    return told


def peers_part(seed: int, count: int, python: str | None) -> Told:
    """The rules that people use, on the same nights; Otava with twice the history, which it needs, and fewer nights."""
    found, none, more = worlds(seed, count), tail(0.0), tail(0.10)
    told: Told = []
    for name, rule in ((BENCHER, bencher), ("previous night × 1.1", yesterday)):
        told.append(Line(f"{name}: false alarms", shares(rule(one, none) for one in found)))
        told.append(Line(f"{name}: tail +10 %", shares(rule(one, more) for one in found)))
    others = [BENCHER]
    if python is None:
        told.append(f"{OTAVA}: not there; pip install 'gatebench[otava]', or --otava-python EXE")
    else:
        rng = np.random.default_rng(seed + 6)
        longer = [world(rng, 2 * NIGHTS) for _ in range(count // 8)]
        told.append(Line(f"{OTAVA}: false alarms", shares(otava(python, longer, none))))
        told.append(Line(f"{OTAVA}: tail +10 %", shares(otava(python, longer, more))))
        others.append(OTAVA)
    for name in others:
        told.append(Better("with control: false alarms", f"{name}: false alarms", less=True))
        told.append(Better("with control: tail +10 % found the first night", f"{name}: tail +10 %", less=False))
    return told


def drift_part(seed: int, count: int, *, control: bool) -> Told:
    """Gate and drift together, over the nights after a frozen anchor; errors of the mean over histories."""
    found, kind = walks.worlds(seed, count), "with control" if control else "without control"
    both = shares(walks.quiet(one, control=control)[1] for one in found)
    name = f"{kind}: gate and drift, false alarms, {walks.NIGHTS} nights each"
    told: Told = [Line(name, both, most=1.2 if control else 2.5)]
    for d, least in ((0.05, 85.0), (0.03, None)):
        hits = shares(walks.first_night(one, walks.step(d), control=control) <= 7 for one in found)
        told.append(Line(f"{kind}: tail +{d:.0%} step found within 7 nights", hits, least=least if control else None))
    nights = shares(walks.first_night(one, walks.creep(0.005), control=control) for one in found)
    name = f"{kind}: tail +0.5 % a night, nights until found"
    return [*told, Line(name, nights, most=11 if control else None, nights=True)]


def young_part(seed: int, count: int, *, cv: int, **how: float) -> Told:
    """Few nights of history, and no control: what a night varies by is hardly known yet."""
    found, none = worlds(seed, count, **how), tail(0.0)
    told: Told = []
    for nights in (5, 10):
        alarms = shares(judged(one, none, control=False, nights=nights).word == Word.REGRESSED for one in found)
        told.append(Line(f"{nights} nights of history, night CV {cv} %: false alarms", alarms, most=2.5))
    return told


def errors_part(seed: int, count: int) -> Told:
    """×5 is asked for where the best of all tests finds it."""
    rng = np.random.default_rng(seed)
    told: Told = []

    def alarms(rate: float, factor: float, nights: int = NIGHTS) -> Floats:
        return shares(word == Word.REGRESSED for word in error_nights(rng, count, rate, factor, nights))

    for rate in (0.0005, 0.004, 0.02):
        best = 100 * best_at_errors(rng, rate, 5.0)
        told.append(Line(f"errors of {rate:.2%}: false alarms", alarms(rate, 1.0), most=1.0))
        least = 85.0 if best >= 85 else None
        told.append(Line(f"errors of {rate:.2%}: ×5 found the first night", alarms(rate, 5.0), least=least))
        told.append(f"  the best of all tests would find it on about {best:.0f} %")
    told.append(Line("errors of 0.40 %, 5 nights: false alarms", alarms(0.004, 1.0, 5), most=1.0))
    return told


def blocks_part(seed: int, count: int) -> Told:
    rng = np.random.default_rng(seed)
    quantiles = (0.5, 0.95, 0.99)
    return [
        Line(f"block interval covers tonight's p{100 * q:g}", block_coverage(rng, count, q), 93, 97) for q in quantiles
    ]


def parts(seed: int, count: int, python: str | None) -> list[Callable[[], Told]]:
    """Each can run by itself, in any process."""
    return [
        partial(gate_part, seed, count, name="with control", control=True, marks=True),
        partial(gate_part, seed, count, name="without control", control=False, marks=True),
        partial(peers_part, seed, count, python),
        partial(drift_part, seed + 5, count // 10, control=True),
        partial(drift_part, seed + 5, count // 10, control=False),
        partial(gate_part, seed + 1, count // 4, name="half a control", control=True, marks=False, control_share=0.5),
        partial(gate_part, seed + 4, count // 4, name="block luck shared by levels", control=True, marks=False,
                shared_blocks=True),
        partial(young_part, seed, count, cv=4),
        partial(young_part, seed + 2, count, cv=15, own_sd=0.15),
        partial(errors_part, seed + 3, count // 2),
        partial(blocks_part, seed + 7, 10 * count),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights-simulated", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--otava-python", metavar="EXE", help="a Python that has apache-otava")
    asked = parser.parse_args()
    count, begin = asked.nights_simulated, time.perf_counter()
    print(f"{count} nights a line, {NIGHTS} nights of history, {len(LEVELS)} levels × 5 metrics; % of nights ± 1 sd\n")
    found: dict[str, float] = {}
    missed: list[str] = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        work = [pool.submit(part) for part in parts(asked.seed, count, otava_python(asked.otava_python))]
        for told in itertools.chain.from_iterable(one.result() for one in work):
            if isinstance(told, Line):
                found[told.name] = told.value
                missed += [told.name] if told.missed else []
                print(told, flush=True)
            elif isinstance(told, Better):
                bad, words = told.told(found)
                missed += [f"{told.ours}, beside {told.theirs}"] if bad else []
                print(words, flush=True)
            else:
                print(told, flush=True)
    print(f"\n{time.perf_counter() - begin:.0f} s; missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
