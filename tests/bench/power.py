"""Does the gate keep its marks? `python tests/bench/power.py [--nights-simulated N] [--seed S] [--otava-python EXE]`.

Every line judges N nights, each with a history of its own, through the same `judge` that the flow calls, with the
second measurement where there is a candidate. The noise is `tests.fakes.noise.world`. Shares are in % of nights, with
the Monte-Carlo error of one sd. Exit code 1 when a mark is missed by more than two of those.

Beside it the rules that people use, Apache Otava among them where it can be had: as the extra `gatebench[otava]`, or in
a Python of its own named by --otava-python or OTAVA_PYTHON.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


# --- the block interval -------------------------------------------------------------------------------------------


def block_coverage(rng: np.random.Generator, count: int, q: float) -> Floats:
    """Does the interval of 5 blocks of 200 requests hold tonight's quantile? AR(1) .4, σ .3, block sd 2.5 %."""
    logs = 0.3 * ar1(rng, (count, 5, 200), 0.4) + rng.normal(0, 0.025, (count, 5, 1))
    truth, blocks = np.exp(0.3 * norm.ppf(q)), np.exp(quantile(logs, q))
    found = [log_mean(row, 1000) for row in blocks.tolist()]
    return np.array([e.lower <= truth <= e.upper for e in found if e.lower is not None and e.upper is not None], float)


# --- the table ------------------------------------------------------------------------------------------------------


class Table:
    def __init__(self) -> None:
        self.missed: list[str] = []
        self.shares: dict[str, float] = {}  # in %

    def line(
        self, name: str, hits: Sequence[float] | Floats, least: float | None = None, most: float | None = None
    ) -> None:
        share = self.shares[name] = 100 * float(np.mean(hits))
        error = 100 * float(np.std(hits)) / np.sqrt(len(hits))
        bar = " and ".join(f"{sign} {b:g}" for sign, b in (("≥", least), ("≤", most)) if b is not None)
        slack = 2 * error + 1e-9
        bad = (least is not None and share < least - slack) or (most is not None and share > most + slack)
        if bad:
            self.missed.append(name)
        print(f"{name:64} {share:6.2f} ± {error:4.2f}   {bar:16} {'MISSED' if bad else ''}", flush=True)

    def better(self, ours: str, theirs: str, *, less: bool) -> None:
        """A mark of two lines: ours has the lower (`less`) or the higher share."""
        us, them = self.shares[ours], self.shares[theirs]
        bad = us >= them if less else us <= them
        if bad:
            self.missed.append(f"{ours}, beside {theirs}")
        print(f"  ours {us:.2f} against {them:.2f}{'   MISSED' if bad else ''}", flush=True)

    def median(self, name: str, values: Sequence[float], most: float | None = None) -> None:
        """In nights; the quarter and three-quarter points beside it."""
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        bad = most is not None and middle > most
        if bad:
            self.missed.append(name)
        bar = "" if most is None else f"≤ {most:g}"
        print(f"{name:64} {middle:6.1f} ({low:g}–{high:g}) {bar:14} {'MISSED' if bad else ''}", flush=True)


def gate_lines(table: Table, found: Sequence[World], *, control: bool, marks: bool, name: str = "") -> None:
    kind = name or ("with control" if control else "without control")
    none, quiet = tail(0.0), []
    for one in found:
        quiet.append(judged(one, none, control=control))
    bar = (1.0 if control else 2.5) if marks else None
    table.line(f"{kind}: false alarms", [n.word == Word.REGRESSED for n in quiet], most=bar)
    table.line(f"{kind}: false 'improved'", [n.word == Word.IMPROVED for n in quiet])
    table.line(f"{kind}: quiet nights that are measured once more", [n.looked_again for n in quiet])
    table.line(f"{kind}: quiet nights called inconclusive", [n.word == Word.INCONCLUSIVE for n in quiet])
    covered = [n.covered for n in quiet]
    table.line(f"{kind}: prediction interval covers", covered, *((93, 97) if marks else (None, None)))
    changes = [("tail +5 %", tail(0.05), None), ("tail +10 %", tail(0.10), 90), ("tail +20 %", tail(0.20), 99)]
    changes.append(("one level +20 %", tail(0.20, (100,)), 85))
    for what, shift, least in changes:
        words = [judged(one, shift, control=control).word == Word.REGRESSED for one in found]
        table.line(f"{kind}: {what} found the first night", words, least=least if control and marks else None)


def otava_lines(table: Table, asked: str | None, seed: int, count: int) -> list[str]:
    """With twice the history, which it needs; the names of what was measured."""
    python = otava_python(asked)
    if python is None:
        print(f"{OTAVA}: not there; pip install 'gatebench[otava]', or --otava-python EXE")
        return []
    rng = np.random.default_rng(seed)
    found = [world(rng, 2 * NIGHTS) for _ in range(count)]
    table.line(f"{OTAVA}: false alarms", otava(python, found, tail(0.0)))
    table.line(f"{OTAVA}: tail +10 %", otava(python, found, tail(0.10)))
    return [OTAVA]


def drift_lines(table: Table, seed: int, count: int) -> None:
    """Gate and drift together, over the nights after a frozen anchor; errors of the mean over histories."""
    found = walks.worlds(seed, count)
    for control, kind, bar in ((True, "with control", 1.2), (False, "without control", 2.5)):
        both = [walks.quiet(one, control=control)[1] for one in found]
        table.line(f"{kind}: gate and drift, false alarms, {walks.NIGHTS} nights each", both, most=bar)
        mark = control
        for d, least in ((0.05, 85.0), (0.03, None)):
            hits = [walks.first_night(one, walks.step(d), control=control) <= 7 for one in found]
            table.line(f"{kind}: tail +{d:.0%} step found within 7 nights", hits, least=least if mark else None)
        nights = [walks.first_night(one, walks.creep(0.005), control=control) for one in found]
        table.median(f"{kind}: tail +0.5 % a night, nights until found", nights, most=11 if mark else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights-simulated", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--otava-python", metavar="EXE", help="a Python that has apache-otava")
    asked = parser.parse_args()
    count, seed, begin = asked.nights_simulated, asked.seed, time.perf_counter()
    table, none = Table(), tail(0.0)
    print(f"{count} nights a line, {NIGHTS} nights of history, {len(LEVELS)} levels × 5 metrics; % of nights ± 1 sd\n")

    found = worlds(seed, count)
    gate_lines(table, found, control=True, marks=True)
    gate_lines(table, found, control=False, marks=True)
    for name, rule in ((BENCHER, bencher), ("previous night × 1.1", yesterday)):
        table.line(f"{name}: false alarms", [rule(one, none) for one in found])
        table.line(f"{name}: tail +10 %", [rule(one, tail(0.10)) for one in found])
    others = [BENCHER, *otava_lines(table, asked.otava_python, seed + 6, count // 8)]
    for name in others:
        table.better("with control: false alarms", f"{name}: false alarms", less=True)
        table.better("with control: tail +10 % found the first night", f"{name}: tail +10 %", less=False)
    drift_lines(table, seed + 5, count // 20)
    half = worlds(seed + 1, count // 4, control_share=0.5)
    gate_lines(table, half, control=True, marks=False, name="half a control")
    shared = worlds(seed + 4, count // 4, shared_blocks=True)
    gate_lines(table, shared, control=True, marks=False, name="block luck shared by levels")

    noisy = worlds(seed + 2, count, own_sd=0.15)
    for some, cv in ((found, 4), (noisy, 15)):
        for nights in (5, 10):
            alarms = [judged(one, none, control=False, nights=nights).word == Word.REGRESSED for one in some]
            table.line(f"{nights} nights of history, night CV {cv} %: false alarms", alarms, most=2.5)

    rng = np.random.default_rng(seed + 3)
    for rate in (0.0005, 0.004, 0.02):
        for factor, mark in ((1.0, {"most": 1.0}), (5.0, {"least": 85.0})):
            words = [w == Word.REGRESSED for w in error_nights(rng, count // 2, rate, factor, NIGHTS)]
            what = "false alarms" if factor == 1 else "×5 found the first night"
            table.line(f"errors of {rate:.2%}: {what}", words, **(mark if rate == 0.004 or factor == 1 else {}))
    table.line(
        "errors of 0.40 %, 5 nights: false alarms",
        [w == Word.REGRESSED for w in error_nights(rng, count // 2, 0.004, 1, 5)],
    )
    for q in (0.5, 0.95, 0.99):
        table.line(f"block interval covers tonight's p{100 * q:g}", block_coverage(rng, 10 * count, q), 93, 97)
    print(f"\n{time.perf_counter() - begin:.0f} s; missed: {', '.join(table.missed) or 'none'}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
