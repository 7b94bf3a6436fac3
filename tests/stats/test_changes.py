import numpy as np
import pytest

from storage.records import ChangePoint
from tasks.stats.changes import OTAVA, PLAIN, finder, plain


def series(*levels: tuple[float, int], sd: float = 0.02, seed: int = 1) -> list[float]:
    rng = np.random.default_rng(seed)
    return [level * float(np.exp(rng.normal(0, sd))) for level, nights in levels for _ in range(nights)]


def test_a_step_is_dated_with_its_levels() -> None:
    (found,) = plain(series((100, 30), (110, 15)))
    assert found.index == 30
    assert (found.before, found.after) == (pytest.approx(100, rel=0.01), pytest.approx(110, rel=0.01))
    assert found.effect == pytest.approx(0.1, abs=0.015)


def test_two_steps_are_two_dates_each_with_its_own_neighbours() -> None:
    found = plain(series((100, 20), (120, 12), (100, 20)))
    assert [point.index for point in found] == [20, 32]
    assert found[1].before == pytest.approx(120, rel=0.02)


def test_a_series_without_a_step_or_too_short_for_one_has_no_date() -> None:
    quiet = sum(bool(plain(series((100, 60), seed=seed))) for seed in range(200))
    assert quiet <= 1
    assert plain(series((100, 3), (200, 3))) == plain([]) == []


def test_a_step_without_any_spread_is_dated_too() -> None:
    assert plain([1.0] * 5 + [2.0] * 5) == [ChangePoint(5, pytest.approx(1.0), pytest.approx(2.0))]


def test_the_finder_at_hand_dates_the_step_and_says_its_name() -> None:
    find, name = finder()
    assert name in (OTAVA, PLAIN)
    assert [point.index for point in find(series((100, 30), (110, 15)))] == [30]
    assert find([1.0, 2.0]) == []
