"""Plan -> legs: which, in which order, and with nothing in them that is nobody's business."""

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import groupby

from config.load import Load, make_load
from flows.specs import load_spec, null_spec, plan_digest, replay_spec, sweep_specs
from storage.records import Attempt, Price, Series


def order(specs):
    return [(spec.block, spec.target.name, spec.level) for spec in specs]


def test_every_block_holds_each_target_at_each_level_once_and_the_control(two, setting):
    specs = sweep_specs(setting(two))
    cells = {(name, level) for name in ("gw", "direct", "control") for level in (1, 4)}
    blocks = {block: list(of) for block, of in groupby(specs, key=lambda spec: spec.block)}
    assert list(blocks) == [1, 2, 3, 4, 5]
    for of in blocks.values():
        assert Counter((spec.target.name, spec.level) for spec in of) == Counter(cells)


def test_the_same_seed_gives_the_same_order_and_another_seed_another(make, setting, two):
    assert order(sweep_specs(setting(two))) == order(sweep_specs(setting(two)))
    other = two.model_copy(update={"seed": two.seed + 1})
    assert order(sweep_specs(setting(other))) != order(sweep_specs(setting(two)))


def test_blocks_and_attempts_are_shuffled_apart(two, setting):
    first = sweep_specs(setting(two))
    passes = {tuple((s.target.name, s.level) for s in of) for _, of in groupby(first, key=lambda s: s.block)}
    assert len(passes) > 1
    again = sweep_specs(setting(two), None, Attempt.CONFIRM)
    assert order(again) != order(first)
    assert Counter(order(again)) == Counter(order(first))


def test_a_confirm_measures_only_the_candidates_and_the_control_beside_them(two, setting):
    specs = sweep_specs(setting(two), [("gw", 4)], Attempt.CONFIRM)
    assert {(spec.target.name, spec.level) for spec in specs} == {("gw", 4), ("control", 4)}
    assert len(specs) == 2 * 5
    assert {spec.attempt for spec in specs} == {"confirm"}
    assert not {spec.leg_id for spec in specs} & {spec.leg_id for spec in sweep_specs(setting(two))}


def test_without_a_control_only_the_targets_are_measured(make, setting):
    assert {s.target.name for s in sweep_specs(setting(make(control={"enabled": False})))} == {"gw"}
    unstarted = replace(setting(make()), control_url=None)
    assert {s.target.name for s in sweep_specs(unstarted)} == {"gw"}


def test_a_pinned_control_of_the_plan_goes_before_our_responder(make, setting):
    plan = make(control={"url": "http://127.0.0.1:7/v1", "model": "ref"})
    control = next(s.target for s in sweep_specs(setting(plan)) if s.target.name == "control")
    assert (control.url, control.model) == ("http://127.0.0.1:7/v1", "ref")


def test_no_key_is_in_any_leg_and_the_control_does_not_even_know_a_variable(make, setting, monkeypatch):
    monkeypatch.setenv("GATEBENCH_API_KEY", "sk-very-secret")
    plan = make()
    here = setting(plan)
    specs = [
        *sweep_specs(here),
        replay_spec(here, plan.targets[0], "/p.parquet"),
        load_spec(here, plan.targets[0], Load()),
    ]
    specs.append(null_spec(here, "http://127.0.0.1:8/v1", stream=True, transport="wire"))
    assert "sk-very-secret" not in json.dumps([asdict(spec) for spec in specs])
    assert {s.target.api_key_env for s in specs if s.target.name in ("control", "null")} == {""}
    assert {s.target.api_key_env for s in specs if s.target.name == "gw"} == {"GATEBENCH_API_KEY"}


def test_a_leg_has_a_folder_of_its_own_and_one_trial_for_all_its_blocks(two, setting):
    specs = sweep_specs(setting(two))
    assert len({spec.leg_id for spec in specs}) == len({spec.folder for spec in specs}) == len(specs)
    assert Counter(Counter(spec.trial_id for spec in specs).values()) == {5: 6}
    assert all(spec.requests == 8 for spec in specs)


def test_a_leg_carries_the_plan_s_limits(make, setting):
    plan = make(
        timeouts={"connect_s": 1, "first_byte_s": 2, "idle_s": 3, "total_s": 4},
        breaker={"share": 0.2},
        prices={"m": {"input": 1.5, "output": 6}},
    )
    spec = sweep_specs(setting(plan))[0]
    assert spec.timeouts_s == (1, 2, 3, 4)
    assert spec.breaker.share == 0.2
    priced = next(s for s in sweep_specs(setting(plan)) if s.target.name == "gw")
    assert priced.budget.prices == {"m": Price(1.5, 6.0)}


def test_a_replay_plays_its_part_at_its_speed_each_request_as_it_was(make, setting):
    plan = make(replay={"speed": 10, "max_in_flight": 7, "on_full": "drop"})
    spec = replay_spec(setting(plan), plan.targets[0], "/part.parquet")
    assert (spec.workload, spec.speed, spec.loop, spec.level) == ("/part.parquet", 10, "open", 0)
    assert (spec.stream, spec.max_in_flight, spec.on_full) == (None, 7, "drop")


def test_a_replay_carries_what_is_to_be_done_to_its_timing(make, setting):
    plan = make(replay={"scale": 1.5, "loop_s": 60, "max_idle_gap_s": 5, "sessions": True, "spin": True})
    spec = replay_spec(setting(plan), plan.targets[0], "/part.parquet")
    assert (spec.scale, spec.loop_s, spec.max_idle_gap_s, spec.sessions, spec.spin) == (1.5, 60, 5, True, True)


def test_a_load_is_sent_as_it_was_asked_for_with_a_warm_up_of_a_tenth(make, setting):
    plan = make()

    def spec(**asked):
        return load_spec(setting(plan), plan.targets[0], make_load(asked, "load"))

    constant = spec(rate_rps=20, duration_s=10)
    assert (constant.rate_rps, constant.duration_s, constant.warmup_s, constant.cv) == (20, 10, 1.0, None)
    assert spec(duration_s=600).warmup_s == 2.0
    assert spec(arrivals="poisson").cv == 1.0
    assert spec(arrivals="gamma", cv=3).cv == 3
    assert spec(arrivals="ramp", to_rps=50).to_rps == 50
    steps = spec(arrivals="steps", steps="5:4s,0:1s,9:5s")
    assert (steps.steps, steps.duration_s, steps.warmup_s) == (((5, 4), (0, 1), (9, 5)), 10, 1.0)
    talk = spec(sessions=True, think_s=3, spin=True, max_in_flight=5, on_full="drop")
    assert (talk.sessions, talk.think_s, talk.spin, talk.max_in_flight, talk.on_full) == (True, 3, True, 5, "drop")


def test_only_what_is_measured_moves_the_digest(make):
    def of(series=Series.SWEEP, **parts):
        plan = make(**parts)
        return plan_digest(plan, plan.targets[0], series)

    same = [
        {"slos": ["rate(errors) < 1%"]},
        {"name": "renamed"},
        {"budget": {"requests": 10}},
        {"replay": {"speed": 2}},
        {"targets": [{"name": "renamed", "url": "http://localhost:4000/v1", "model": "m"}]},
    ]
    other = [
        {"sweep": {"levels": [1]}},
        {"seed": 5},
        {"timeouts": {"idle_s": 5}},
        {"control": {"enabled": False}},
        {"targets": [{"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m2"}]},
        {"targets": [{"name": "gw", "url": "http://127.0.0.1:4000/v1", "model": "m", "extra_body": {"n": 1}}]},
    ]
    assert {of(**parts) for parts in same} == {of()}
    assert of() not in {of(**parts) for parts in other}
    assert of(Series.REPLAY, sweep={"levels": [1]}) == of(Series.REPLAY)
    assert of(Series.REPLAY, replay={"speed": 2}) != of(Series.REPLAY)
