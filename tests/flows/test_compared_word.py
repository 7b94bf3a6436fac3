"""The one word of a comparison: what was not measured properly, or not at all, never passes."""

from dataclasses import replace

import pytest

from config.forms import RivalForm, plan_of
from storage.records import Comparison
from tasks.compare import word
from tasks.stats.pair_rules import PairRules
from tests.fakes.samples import leg

PLAN = plan_of([RivalForm(name="main"), RivalForm(name="cand")], sweep={"levels": [1, 4], "requests": 40, "blocks": 5})
LIKE = Comparison(
    "main", "cand", "candidate", "latency_p95", 1, 0.2, 0.2, 0.0, -0.01, 0.01, 0.0, -0.002, 0.002, 0.9, 0.05, None,
    5, 200, False, True, "unchanged", "",
)  # fmt: skip
BOTH = [LIKE, replace(LIKE, level=4)]
GOOD = [leg("a", target="main"), leg("b", target="cand")]


def said(found, legs=GOOD):
    return word(PLAN, found, legs, PairRules())


def test_two_targets_that_are_alike_at_every_level_are_unchanged():
    assert said(BOTH) == ("unchanged", "")


def test_one_regression_makes_the_run_regressed_and_an_improvement_without_one_improved():
    assert said([LIKE, replace(BOTH[1], verdict="regressed")])[0] == "regressed"
    assert said([LIKE, replace(BOTH[1], verdict="improved")])[0] == "improved"
    better_and_worse = [replace(LIKE, verdict="improved"), replace(BOTH[1], verdict="regressed")]
    assert said(better_and_worse)[0] == "regressed"


@pytest.mark.parametrize("target", ["main", "cand"])
def test_an_invalid_leg_of_either_makes_it_invalid_even_if_it_looks_regressed(target):
    legs = [*GOOD, leg("c", target=target, validity="invalid")]
    assert said(BOTH, legs) == ("invalid", "")
    assert said([replace(LIKE, verdict="regressed")], legs) == ("invalid", "")


def test_an_invalid_leg_of_the_control_is_no_ones_fault():
    assert said(BOTH, [*GOOD, leg("c", target="control", validity="invalid")])[0] == "unchanged"


def test_a_comparison_that_was_stopped_never_passes():
    stopped = leg("c", target="cand", stopped="budget", validity="invalid")
    assert said(BOTH, [*GOOD, stopped]) == ("inconclusive", "the measuring was stopped before its time")


def test_a_level_without_numbers_never_passes():
    errors = replace(LIKE, level=4, metric="errors", effect=None)
    assert said([LIKE, errors]) == ("inconclusive", "nothing to compare by at 4 concurrent")


def test_an_overhead_alone_has_no_word():
    assert said([replace(one, kind="overhead", verdict="") for one in BOTH]) == (None, "")
