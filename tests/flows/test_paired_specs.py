"""Targets side by side: measured straight after one another, asked for the same, and never always in the same order."""

from itertools import groupby, pairwise
from pathlib import Path

import pytest

from config.forms import RIVALS, RivalForm, plan_of, rivals_of
from config.plan import PlanError
from flows.compare import named
from flows.specs import paired_specs
from storage.records import Attempt
from tasks.compare import matches
from tasks.load.requests import Arrivals, Requests
from tasks.load.schedule import order
from tasks.workload.builtin import builtin
from tasks.workload.trace import write


def turns(specs):
    """(block, level) -> its targets in the order in which they are measured."""
    return {key: [s.target.name for s in of] for key, of in groupby(specs, key=lambda s: (s.block, s.level))}


def test_targets_and_control_of_a_level_are_measured_straight_after_one_another(two, setting):
    found = turns(paired_specs(setting(two)))
    assert sorted(found) == [(block, level) for block in range(1, 6) for level in (1, 4)]
    assert all(sorted(names) == ["control", "direct", "gw"] for names in found.values())


def test_who_goes_first_goes_round(make, setting, two):
    plan = two.model_copy(update={"control": make(control={"enabled": False}).control})
    for level in (1, 4):
        first = [names[0] for (_, at), names in sorted(turns(paired_specs(setting(plan))).items()) if at == level]
        assert {first.count("gw"), first.count("direct")} == {2, 3}
        assert all(a != b for a, b in pairwise(first))


def test_levels_are_shuffled_by_block_and_the_same_seed_gives_the_same_order(make, setting, two):
    plan = two.model_copy(update={"sweep": make(sweep={"levels": [1, 2, 3, 4]}).sweep})
    specs = paired_specs(setting(plan))
    passes = {tuple(dict.fromkeys(s.level for s in of)) for _, of in groupby(specs, key=lambda s: s.block)}
    assert len(passes) > 1
    assert specs == paired_specs(setting(plan))


def test_a_confirm_measures_both_of_a_pair_where_it_must(two, setting):
    specs = paired_specs(setting(two), [("gw", 4), ("direct", 4)], Attempt.CONFIRM)
    assert {(s.target.name, s.level) for s in specs} == {("gw", 4), ("direct", 4), ("control", 4)}
    assert len(specs) == 3 * 5
    assert not {s.leg_id for s in specs} & {s.leg_id for s in paired_specs(setting(two))}


def test_every_target_gets_the_same_requests_but_for_the_salt(two, setting, tmp_path: Path):
    path = tmp_path / "w.parquet"
    write(builtin(), path)
    arrivals = Arrivals.read(str(path))
    specs = [s for s in paired_specs(setting(two)) if (s.block, s.level) == (1, 4) and s.target.name != "control"]
    assert {(s.loop, s.stream, s.requests, s.seed, s.tokens_per_word) for s in specs} == {
        ("closed", True, 8, two.seed, 1.0)
    }
    drawn = [order(s.seed, s.block, s.level, len(arrivals)) for s in specs]
    assert drawn[0] == drawn[1]
    makers = [Requests(s, arrivals) for s in specs]
    for seq, index in enumerate(drawn[0]):
        a, b = (maker.make(seq, index).payload.partition(b'"content":"')[2].split() for maker in makers)
        assert len(a) == len(b)
        if len(a) > 6:
            assert a[:6] != b[:6] and a[6:] == b[6:]


def test_the_first_gateway_is_the_baseline_and_a_direct_target_tells_what_each_adds():
    def plan(*targets):
        return plan_of([RivalForm(name=name, direct=direct) for name, direct in targets]).targets

    assert matches(plan(("main", False), ("one", False), ("two", False))) == [
        ("main", "one", "candidate"),
        ("main", "two", "candidate"),
    ]
    assert matches(plan(("up", True), ("gw", False))) == [("up", "gw", "overhead")]
    assert matches(plan(("a", False), ("b", False), ("up", True))) == [
        ("a", "b", "candidate"),
        ("up", "a", "overhead"),
        ("up", "b", "overhead"),
    ]


def test_a_comparison_takes_the_named_targets_in_that_order(two):
    assert [t.name for t in rivals_of(two, ["direct", "gw"]).targets] == ["direct", "gw"]
    assert rivals_of(two).targets == two.targets


@pytest.mark.parametrize("names", [["gw"], ["gw", "gw"]])
def test_a_comparison_needs_two_targets_each_once(two, names):
    with pytest.raises(
        PlanError, match="a comparison needs two targets or more, each once; plan 'adhoc' has gw, direct"
    ):
        rivals_of(two, names)


def test_a_run_is_named_after_its_targets():
    assert named({"targets": RIVALS, "plan": ""}) == "compare baseline, candidate"
    assert named({"targets": [], "plan": "/plans/two.toml", "names": ["a", "b"]}) == "compare a, b"
    assert named({"targets": [], "plan": "/plans/two.toml", "names": []}) == "compare all of two"
