import pytest

from config.plan import Plan, PlanError, make_plan
from config.traffic import Stress

TARGET = {"url": "http://127.0.0.1:4000/v1", "model": "m"}


def plan(stress) -> Plan:
    return make_plan({"targets": [TARGET], "replay": {"stress": stress}}, "p.toml")


def test_a_stress_is_a_table_or_a_text():
    wanted = Stress(rate_rps=50, from_="1m", until="5m")
    assert plan({"rate_rps": 50, "from": "1m", "until": "5m"}).replay.stress == wanted
    assert plan("rate=50, from=1m, until=5m").replay.stress == wanted
    assert (wanted.from_s, wanted.until_s) == (60.0, 300.0)
    assert plan("concurrency=8").replay.stress == Stress(concurrency=8)
    assert plan("").replay.stress is None


def test_a_stress_survives_being_stored_with_the_run():
    stored = plan("rate=50,from=1m").model_dump(mode="json")
    assert stored["replay"]["stress"] == {"rate_rps": 50.0, "concurrency": None, "from": "1m", "until": ""}
    assert Plan.model_validate(stored) == plan("rate=50,from=1m")


def test_nights_with_a_stress_are_compared_with_each_other_only():
    assert plan("rate=50").measuring() != plan("").measuring()
    assert "stress" not in plan("").measuring()["replay"]


@pytest.mark.parametrize(
    ("stress", "why"),
    [
        ({}, "one of them"),
        ("rate=5,concurrency=2", "one of them"),
        ("rate=5,from=2m,until=1m", "ends \\(1m\\) before it begins \\(2m\\)"),
        ("rate=5,from=soon", "write a time like 30s"),
        ("often", "write it like rate=50,from=1m,until=5m"),
        ("rate=many", "replay.stress.rate_rps"),
        ({"rate_rps": 5, "form": "1m"}, "did you mean"),
    ],
)
def test_a_stress_that_makes_no_sense_is_refused(stress, why):
    with pytest.raises(PlanError, match=why):
        plan(stress)
