import json
import statistics
from random import Random

import pytest

from storage.errors import UsageError
from tasks.simulator.draws import Draws, pick, unit_draw
from tasks.simulator.model import (
    Distribution,
    Fault,
    FaultKind,
    SimConfig,
    control_config,
    null_config,
    parse_fault,
)


def test_a_configuration_survives_json():
    config = SimConfig(
        slots=3,
        service_ms=12.5,
        distribution=Distribution.LOGNORMAL,
        first_token_ms=4,
        per_token_ms=0.5,
        models=("a", "b"),
        faults=(Fault(FaultKind.SLOW, 0.1, factor=1.5), Fault(FaultKind.STALL, 0.2, stall_s=3)),
    )
    assert SimConfig.from_json(config.to_json()) == config


def test_a_fault_says_only_its_own_parameters():
    assert Fault(FaultKind.ERROR, 0.25, status=503).to_dict() == {"kind": "error", "share": 0.25, "status": 503}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ('{"slotz": 3}', "did you mean 'slots'"),
        ('{"slots": 1.5}', "slots is 1.5; it must be a whole number from 0"),
        ('{"slots": true}', "slots is True"),
        ('{"service_ms": -1}', "service_ms is -1; it must be a number from 0"),
        ('{"service_ms": "40"}', "service_ms is '40'"),
        ('{"port": 70000}', "from 0 to 65535"),
        ('{"distribution": "normal"}', "known are constant, lognormal, exponential"),
        ('{"first_token_ms": 5}', "given together"),
        ('{"models": "m"}', "models must be a list"),
        ('{"faults": ["reset:share=0.6", "error:share=0.6"]}', "add up to 1.2"),
        ('{"faults": [{"share": 1}]}', "kind, share and parameters"),
        ("[1]", "must be a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_configuration_is_refused_in_a_sentence(raw, says):
    with pytest.raises(UsageError, match=r"simulator|fault") as refused:
        SimConfig.from_json(raw)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset", Fault(FaultKind.RESET)),
        ("slow:factor=1.5,share=0.1", Fault(FaultKind.SLOW, 0.1, factor=1.5)),
        ("rate_limited:retry_after_s=7", Fault(FaultKind.RATE_LIMITED, retry_after_s=7)),
        (" error : status=503 , share=0.5 ", Fault(FaultKind.ERROR, 0.5, status=503)),
        ("stall:stall_s=0.25", Fault(FaultKind.STALL, stall_s=0.25)),
    ],
)
def test_a_fault_is_read_from_its_text(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slwo", "did you mean 'slow'"),
        ("", "unknown fault ''"),
        ("slow:1.5", "'1.5' is not name=number; write it like slow:factor=1.5,share=0.1"),
        ("slow:factor=fast", "is not name=number"),
        ("slow:factor=nan", "factor is nan"),
        ("slow:factor=inf", "factor is inf"),
        ("slow:facto=2", "did you mean 'factor'"),
        ("reset:status=500", "unknown key 'status'"),
        ("reset:share=1.5", "share is 1.5; it must be a number from 0 to 1"),
        ("error:status=200", "status is 200; it must be a whole number from 400 to 599"),
    ],
)
def test_a_wrong_fault_is_refused_in_a_sentence(text, says):
    with pytest.raises(UsageError) as refused:
        parse_fault(text)
    assert says in str(refused.value)


def test_a_live_change_keeps_the_rest_and_cannot_move_the_port():
    config = SimConfig(slots=7, faults=(Fault(FaultKind.RESET, 0.5),))
    assert config.changed({"service_ms": 9.0}) == SimConfig(slots=7, service_ms=9.0, faults=config.faults)
    with pytest.raises(UsageError, match="port cannot change"):
        config.changed({"port": 1})


def test_null_and_control_have_no_limit():
    assert (null_config().slots, null_config().service_ms) == (0, 0.0)
    assert (control_config(25.0).slots, control_config(25.0).service_ms) == (0, 25.0)
    assert json.loads(control_config().to_json())["distribution"] == "constant"


@pytest.mark.parametrize(("distribution", "cv"), [("lognormal", 0.5), ("exponential", 1.0), ("constant", 0.0)])
def test_draws_have_mean_one_and_the_stated_spread(distribution, cv):
    draw = unit_draw(Distribution(distribution), cv, Random(7))
    values = [draw() for _ in range(20_000)]
    error = 4 * cv / 20_000**0.5
    assert abs(statistics.fmean(values) - 1) <= error
    assert abs(statistics.pstdev(values) - cv) <= 0.05


def test_shares_lie_end_to_end():
    faults = (Fault(FaultKind.RESET, 0.25), Fault(FaultKind.EMPTY, 0.5))
    kinds = [getattr(pick(faults, u), "kind", None) for u in (0.0, 0.24, 0.25, 0.74, 0.75, 0.99)]
    assert kinds == ["reset", "reset", "empty", "empty", None, None]


def test_the_same_seed_draws_the_same_and_faults_do_not_move_service_times():
    plain = SimConfig(distribution=Distribution.EXPONENTIAL, seed=3)
    faulty = plain.changed({"faults": ["reset:share=0.3", "slow:share=0.3"]})

    def run(config: SimConfig) -> tuple[list[float], list[object]]:
        draws = Draws(config)
        rows = [(draws.fault(), draws.factor(), draws.unit()) for _ in range(50)]
        return [row[2] for row in rows], [row[:2] for row in rows]

    assert run(faulty) == run(faulty)
    assert run(faulty)[0] == run(plain)[0]
    assert run(faulty)[1] != run(faulty.changed({"seed": 4}))[1]
