import pytest

from storage.records import Estimate, Slo
from tasks.charts.words import (
    as_moved,
    dates,
    effect_words,
    estimate_words,
    listed,
    metric_words,
    number,
    place_words,
    plain,
    share,
    signed,
    slo_words,
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0.00"),
        (0.312, "0.31"),
        (4.254, "4.25"),
        (9.996, "10.0"),
        (42.46, "42.5"),
        (99.96, "100"),
        (14000, "14,000"),
    ],
)
def test_a_number_has_three_digits(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("effect", "said"), [(0.48, "+48"), (-0.031, "−3.1"), (0.0004, "0"), (0.0996, "+10"), (3.12, "+312")]
)
def test_an_effect_has_a_sign(effect: float, said: str) -> None:
    assert signed(effect) == said


def test_an_interval_has_the_digits_of_its_point() -> None:
    assert effect_words(0.48, 0.41, 0.562) == "+48 % [+41, +56]"
    assert effect_words(0.021, -0.03, 0.071) == "+2.1 % [−3.0, +7.1]"
    assert effect_words(0.021, None, None) == "+2.1 %"


def test_a_metric_and_a_place_are_said_in_words() -> None:
    assert metric_words("latency_p95") == "p95 latency"
    assert metric_words("ttft_p95") == "p95 TTFT"
    assert metric_words("throughput") == "throughput"
    assert place_words("sweep", 10) == "at 10 concurrent"
    assert place_words("sweep", None) == "over all levels"
    assert place_words("replay", 0) == "in the replay"


def test_the_gates_effect_on_a_rate_is_turned_back() -> None:
    assert as_moved("throughput", 0.25) == pytest.approx(-0.2)
    assert as_moved("latency_p95", 0.25) == 0.25


def test_an_estimate_has_its_unit_its_interval_and_its_at_least() -> None:
    assert estimate_words("latency_p99", Estimate(0.212, 0.201, 0.224, 1000, 5)) == "212 ms [201, 224]"
    assert estimate_words("latency_p99", Estimate(30.0, None, None, 1000, 1, at_least=True)) == "≥ 30,000 ms"
    assert estimate_words("throughput", Estimate(798.2, 790.0, 806.0, 1000, 5)) == "798/s [790, 806]"
    assert estimate_words("errors", Estimate(0.0042, 0.001, 0.012, 1000, 5)) == "0.42 % [0.10, 1.20]"
    assert estimate_words("latency_p99", None) == "–"


def test_a_share_keeps_two_digits() -> None:
    assert [share(v) for v in (0.0, 0.0042, 0.03, 0.5)] == ["0 %", "0.42 %", "3 %", "50 %"]


def test_an_objective_is_said_with_what_was_measured() -> None:
    latency = Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None)
    errors = Slo("rate(errors) < 0.5%", "rate", "errors", 0.005, None)
    assert slo_words(latency, 0.612) == "p95(latency) < 500ms: measured 612 ms"
    assert slo_words(errors, 0.012) == "rate(errors) < 0.5%: measured 1.2 %"
    assert slo_words(errors, None) == "rate(errors) < 0.5%: nothing to judge it by"


def test_a_list_is_joined_as_people_do() -> None:
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert plain("a\x1b[31mb\n\tc\u202ed") == "a [31mb c d"


def test_one_day_is_one_date() -> None:
    assert dates("2026-11-24T01:00:00+00:00", "2026-11-24T03:30:00+00:00") == "2026-11-24"
    assert dates("2026-11-01T01:00:00+00:00", "2026-11-24T03:30:00+00:00") == "2026-11-01 to 2026-11-24"
