"""How a run ends: one exit code, the first that matters."""

import pytest

from flows.outcome import exit_code

NOTHING = {"slo_broken": False, "stopped": False, "invalid": False, "nothing": False}


@pytest.mark.parametrize(
    ("verdict", "facts", "code"),
    [
        (None, {}, 0),
        ("unchanged", {}, 0),
        ("improved", {}, 0),
        ("inconclusive", {}, 0),
        ("regressed", {}, 10),
        ("regressed", {"slo_broken": True, "invalid": True, "stopped": True}, 10),
        ("regressed", {"nothing": True}, 14),
        ("unchanged", {"slo_broken": True}, 11),
        ("inconclusive", {"slo_broken": True}, 11),
        ("invalid", {}, 12),
        ("unchanged", {"invalid": True}, 12),
        ("invalid", {"slo_broken": True}, 11),
        (None, {"stopped": True}, 15),
        ("invalid", {"stopped": True, "invalid": True}, 15),
    ],
)
def test_of_several_reasons_the_first_of_the_contract_is_the_exit_code(verdict, facts, code):
    assert exit_code(verdict, **{**NOTHING, **facts}) == code
