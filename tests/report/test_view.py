from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.report.view import RunView, changed, levels, moved_by, nights, targets, validity

View = Callable[..., RunView]


def test_the_control_is_not_a_target(view: View, made: dict[str, Any]) -> None:
    legs = [made["leg"](1, 0, target="control"), made["leg"](1, 0)]
    assert targets(view(legs=legs)) == ["gw"]


def test_levels_rise_and_the_replay_comes_last(view: View, made: dict[str, Any]) -> None:
    legs = [made["leg"](0, 0, series="replay"), made["leg"](10, 0), made["leg"](2, 0)]
    assert levels(view(legs=legs, cells=[]), "gw") == [("sweep", 2), ("sweep", 10), ("replay", 0)]


def test_one_invalid_leg_makes_the_level_invalid(made: dict[str, Any]) -> None:
    legs = [
        made["leg"](1, 0),
        made["leg"](1, 1, validity="suspect", reasons=["a"]),
        made["leg"](1, 2, validity="invalid", reasons=["b", "a"]),
    ]
    assert validity(legs) == ("invalid", ["a", "b"])
    assert validity([]) == ("valid", [])


def test_nights_are_those_of_the_same_number_or_the_baseline_where_it_has_none(view: View) -> None:
    said = view(baseline_runs=["r1", "r2"])
    assert nights(said, said.verdicts[0]) == 7
    assert nights(said, said.verdicts[1]) == 2


def test_a_change_in_the_metrics_own_unit_is_taken_from_the_effect(view: View, made: dict[str, Any]) -> None:
    assert moved_by(view(), made["regressed"]) == pytest.approx(0.212 - 0.212 / 1.48)
    assert moved_by(view(), made["slower"]) == pytest.approx(80.0 - 80.0 * 1.25)


def test_before_the_gate_can_speak_only_a_large_change_is_shown(view: View, made: dict[str, Any]) -> None:
    small = replace(made["regressed"], verdict="inconclusive", reason="2 nights", effect=0.1)
    large = replace(small, metric="latency_p99", effect=0.3)
    assert changed(view(verdicts=[small, large])) == [large]
