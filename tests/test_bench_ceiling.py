"""The arithmetic of the benchmark of the ceiling; no figure is judged here."""

import pytest

from tests.bench.ceiling import LEAST_RPS, MOST_RPS, Result, drawn, holds, line, missed, off


def result(seed: int, point: float | None, *, upper: float | None = 105.0) -> Result:
    found = None if point is None else {"point": point, "lower": 95.0, "upper": upper}
    return Result(seed, drawn(seed), 100.0, found, found, "capacity", 8, 60.0, 0)


def test_a_seed_always_draws_the_same_simulator_of_a_capacity_within_bounds() -> None:
    configs = [drawn(seed) for seed in range(30)]
    assert configs == [drawn(seed) for seed in range(30)]
    assert len({config.slots for config in configs}) > 10
    rates = [config.slots / config.service_ms * 1e3 for config in configs]
    assert LEAST_RPS <= min(rates) < max(rates) <= MOST_RPS


def test_one_in_ten_may_be_off_and_two_may_not() -> None:
    near = [result(seed, 104.0) for seed in range(8)]
    assert missed([*near, result(9, 106.0), result(10, 96.0)]) == []
    assert missed([*near, result(9, 106.0), result(10, 94.0)]) == [
        "swept: 8 of 10 within 5%",
        "sustained: 8 of 10 within 5%",
    ]
    assert missed([*near, result(9, None), result(10, None)])[:2] == [
        "swept: 8 of 10 within 5%",
        "swept: 8 of 10 intervals hold the truth",
    ]


@pytest.mark.parametrize(("truth", "upper", "inside"), [(94.9, 105, False), (100, 105, True), (106, 105, False)])
def test_an_interval_holds_what_lies_in_it(truth: float, upper: float, inside: bool) -> None:
    assert holds({"point": 100.0, "lower": 95.0, "upper": upper}, truth) is inside
    assert holds({"point": 100.0, "lower": 95.0, "upper": None}, 1e9)
    assert not holds(None, truth)


def test_a_line_says_how_far_each_answer_is_from_the_truth() -> None:
    assert off({"point": 103.0}, 100.0) == pytest.approx(0.03)
    assert "103.0 [95, 105]   +3.0 %" in line(result(1, 103.0))
    assert "[95, ∞]" in line(result(1, 103.0, upper=None))
    assert "–" in line(result(1, None))
