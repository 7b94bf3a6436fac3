"""A load that makes sense, and one that does not: each complaint names the field and says how to mend it."""

import pytest

from config.forms import LoadForm, ReplayForm, TargetForm, filled, load_from, plan_from
from config.load import Load, Step, make_load, parse_steps
from config.plan import PlanError
from config.traffic import Replay


def test_a_load_is_constant_where_nothing_else_is_asked_for():
    load = make_load({}, "load")
    assert (load.arrivals, load.spread, load.seconds, load.requests) == ("constant", None, 30.0, 300)


@pytest.mark.parametrize(
    ("asked", "spread", "seconds", "requests"),
    [
        ({"arrivals": "poisson"}, 1.0, 30, 300),
        ({"arrivals": "gamma", "cv": 2}, 2.0, 30, 300),
        ({"arrivals": "ramp", "to_rps": 50}, None, 30, 900),
        ({"arrivals": "ramp", "to_rps": 0, "cv": 1}, 1.0, 30, 150),
        ({"arrivals": "steps", "steps": "10:30s, 0:5, 50:1m"}, None, 95, 3300),
        ({"arrivals": "steps", "steps": [{"rate_rps": 0.5, "duration_s": 1}]}, None, 1, 1),
    ],
)
def test_how_long_a_load_takes_and_how_many_it_sends(asked, spread, seconds, requests):
    load = make_load(asked, "load")
    assert (load.spread, load.seconds, load.requests) == (spread, seconds, requests)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"arrivals": "gamma"}, "gamma needs cv"),
        ({"arrivals": "poisson", "cv": 1}, "means nothing, use gamma"),
        ({"cv": 2}, "with arrivals = constant it means nothing"),
        ({"arrivals": "ramp"}, "arrivals = ramp and to_rps belong together"),
        ({"to_rps": 5}, "arrivals = ramp and to_rps belong together"),
        ({"arrivals": "steps"}, "arrivals = steps and a list of steps belong together"),
        ({"steps": "1:1s"}, "arrivals = steps and a list of steps belong together"),
        ({"arrivals": "steps", "steps": "0:1s"}, "nothing would be sent"),
        ({"think_s": 3}, "needs sessions = true"),
        ({"rate_rps": 0}, "load: rate_rps: .*greater than 0"),
        ({"rate_rps": float("inf")}, "load: rate_rps: .*finite"),
        ({"duration_s": -1}, "load: duration_s"),
        ({"arrivals": "gamma", "cv": 0}, "load: cv"),
        ({"arrivals": "waves"}, "load: arrivals: Input should be 'constant'"),
    ],
)
def test_what_does_not_go_together_is_said(asked, complaint):
    with pytest.raises(PlanError, match=complaint):
        make_load(asked, "load")


def test_steps_are_read_from_a_text():
    assert parse_steps("10:30s, 2.5:500ms,50:1m ,1:1h,3:4") == [
        {"rate_rps": 10.0, "duration_s": 30.0},
        {"rate_rps": 2.5, "duration_s": 0.5},
        {"rate_rps": 50.0, "duration_s": 60.0},
        {"rate_rps": 1.0, "duration_s": 3600.0},
        {"rate_rps": 3.0, "duration_s": 4.0},
    ]
    assert parse_steps(" ") == []


@pytest.mark.parametrize("text", ["10", "10:", ":30s", "10:30s,", "-1:3s", "10:3d", "ten:3s"])
def test_steps_that_cannot_be_read_are_said_with_an_example(text):
    with pytest.raises(PlanError, match="as in 10:30s,50:1m"):
        parse_steps(text)


def test_a_form_becomes_a_load_and_names_the_run():
    steps = filled(LoadForm, arrivals="steps", steps="5:2s,1:1s")
    assert load_from(steps) == Load(
        arrivals="steps", steps=(Step(rate_rps=5, duration_s=2), Step(rate_rps=1, duration_s=1))
    )
    assert steps.words == "steps 5:2s,1:1s"
    assert filled(LoadForm, arrivals="ramp", to_rps=50).words == "10/s to 50/s"
    assert LoadForm(rate_rps=2.5).words == "2.5/s"


def test_a_form_that_is_filled_in_wrong_names_its_field():
    with pytest.raises(PlanError, match=r"^rate_rps: .*greater than 0"):
        filled(LoadForm, rate_rps=0)
    with pytest.raises(PlanError, match=r"^on_full: .*'queue', 'drop' or 'abort'"):
        filled(ReplayForm, on_full="wait")


def test_every_option_of_a_replay_form_is_one_of_a_plan():
    form = ReplayForm(speed=2, scale=1.5, loop_s=60, max_idle_gap_s=5, sessions=True, spin=True, on_full="drop")
    plan = plan_from(TargetForm(), replay=form.model_dump(exclude={"workload"}))
    assert plan.replay == Replay(
        speed=2, scale=1.5, loop_s=60, max_idle_gap_s=5, sessions=True, spin=True, on_full="drop"
    )


def test_options_that_came_later_are_part_of_what_is_measured_only_where_they_are_set():
    bare = plan_from(TargetForm()).measuring()["replay"]
    assert set(bare) == {"enabled", "speed", "window", "max_in_flight", "on_full"}
    scaled = plan_from(TargetForm(), replay={"scale": 2.0, "sessions": True}).measuring()["replay"]
    assert set(scaled) - set(bare) == {"scale", "sessions"}
