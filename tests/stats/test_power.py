"""A small version of tests/bench/power.py: the bounds are its marks and three Monte-Carlo errors."""

import math

import pytest

from storage.records import Word
from tests.bench.power import judged, worlds
from tests.fakes.noise import World, tail

NIGHTS = 150


@pytest.fixture(scope="module")
def found() -> list[World]:
    return worlds(20261124, NIGHTS)


def most(share: float) -> float:
    return share + 3 * math.sqrt(share * (1 - share) / NIGHTS)


def least(share: float) -> float:
    return share - 3 * math.sqrt(share * (1 - share) / NIGHTS)


def share_regressed(found: list[World], d: float, at: tuple[int, ...], *, control: bool = True) -> float:
    return sum(judged(one, tail(d, at), control=control).word == Word.REGRESSED for one in found) / len(found)


LEVELS = (1, 10, 50, 100)


@pytest.mark.parametrize(("control", "mark"), [(True, 0.010), (False, 0.025)])
def test_quiet_nights_seldom_alarm(found: list[World], control: bool, mark: float) -> None:
    assert share_regressed(found, 0.0, LEVELS, control=control) <= most(mark)


@pytest.mark.parametrize(
    ("d", "at", "mark"), [(0.10, LEVELS, 0.90), (0.20, LEVELS, 0.99), (0.20, (100,), 0.85)], ids=str
)
def test_a_slower_tail_is_found_the_first_night(found: list[World], d: float, at: tuple[int, ...], mark: float) -> None:
    assert share_regressed(found, d, at) >= least(mark)


def test_the_prediction_interval_covers_an_unchanged_night(found: list[World]) -> None:
    covered = [judged(one, tail(0.0), control=True).covered for one in found]
    mean = sum(covered) / NIGHTS
    error = math.sqrt(sum((c - mean) ** 2 for c in covered)) / NIGHTS
    assert 0.93 - 3 * error <= mean <= 0.97 + 3 * error


@pytest.mark.parametrize("nights", [5, 10])
def test_a_short_history_of_a_noisy_provider_seldom_alarms(nights: int) -> None:
    noisy = worlds(7, NIGHTS, own_sd=0.15)
    alarms = sum(judged(one, tail(0.0), control=False, nights=nights).word == Word.REGRESSED for one in noisy)
    assert alarms / NIGHTS <= most(0.025)
