"""How often a comparison of two equal targets alarms, and what it sees: `python -m tests.bench.pairs`."""

import argparse
import time
from collections.abc import Callable

import numpy as np

from storage.records import Word
from tasks.stats.pair_gate import CANDIDATE, Match, compare
from tasks.stats.pair_rules import PairRules
from tests.fakes.noise import LEVELS, Floats
from tests.fakes.rivals import METRICS, Rivals, rivals, slower

RULES = PairRules()
TAIL = ("latency_p95", "latency_p99")
CHANGES = {
    "nothing": slower(0.0),
    "all +5 %": slower(0.05),
    "all +10 %": slower(0.10),
    "all +15 %": slower(0.15),
    "tail +10 %": slower(0.10, LEVELS, TAIL),
    "tail +20 %": slower(0.20, LEVELS, TAIL),
    "one level +20 %": slower(0.20, (100,), METRICS),
}


def naive(found: Rivals, shift: Floats) -> bool:
    """Any 95 % interval wholly above `min_effect`: no family, no second look."""
    first = compare(Match("a", "b", "candidate", found.pairs(0, shift)), RULES)
    return any(one.lower is not None and one.lower > RULES.min_effect for one in first)


def family(found: Rivals, shift: Floats) -> bool:
    """With Benjamini-Hochberg, without a second look."""
    first = compare(Match("a", "b", "candidate", found.pairs(0, shift)), RULES)
    return any(one.reason == CANDIDATE for one in first)


def whole(found: Rivals, shift: Floats) -> bool:
    """The rule as it stands."""
    match = Match("a", "b", "candidate", found.pairs(0, shift), found.pairs(1, shift))
    return any(one.verdict == Word.REGRESSED for one in compare(match, RULES))


WAYS: dict[str, Callable[[Rivals, Floats], bool]] = {"interval": naive, "+ family": family, "+ confirm": whole}
WORLDS: dict[str, dict[str, float | bool]] = {
    "blocks only": {"lasting": False},
    "luck of a level lasts": {"lasting": True},
    "and of a process, 1 %": {"lasting": True, "process_sd": 0.01},
}


def worlds(seed: int, runs: int, **setup: float | bool) -> list[Rivals]:
    rng = np.random.default_rng(seed)
    return [rivals(rng, **setup) for _ in range(runs)]  # type: ignore[arg-type]


def share(found: list[Rivals], shift: Floats, way: Callable[[Rivals, Floats], bool]) -> float:
    return sum(way(one, shift) for one in found) / len(found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--seed", type=int, default=20261124)
    given = options.parse_args()
    began = time.perf_counter()
    for name, setup in WORLDS.items():
        found = worlds(given.seed, given.runs, **setup)
        print(f"\n{name}: {given.runs} comparisons, % that alarm")
        print(f"{'':18}" + "".join(f"{way:>12}" for way in WAYS))
        for change, shift in CHANGES.items():
            row = "".join(f"{100 * share(found, shift, way):12.1f}" for way in WAYS.values())
            print(f"{change:18}{row}")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
