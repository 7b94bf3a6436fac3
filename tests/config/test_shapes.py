"""What a form lets through: all that the plan reads, and none of the usual slips."""

import re

import pytest

from config import shapes
from config.forms import ReplayForm, SweepForm, TargetForm
from config.load import parse_steps
from config.plan import PlanError, make_plan, parse_slo

FITS = {
    "URL": ["http://127.0.0.1:4000/v1", "https://gw.example.org/a/v1"],
    "NAME": ["gw", "my-gateway.2"],
    "KEY_NAME": ["GATEBENCH_API_KEY", "GATEBENCH_KEY_TEAM"],
    "OBJECTIVE": ["p95(latency) < 500ms", "p95(latency){level=10} < 300ms", "rate(errors) < 0.5%"],
    "OVERRIDE": ["budget.usd=2", "targets.0.url=http://127.0.0.1:1/v1", "judge.confirm=false"],
    "WINDOW": ["", "10m", "0:10m", "5m:15m", "1h:", "1h30m:2h"],
    "STRESS": ["", "rate=50,from=1m,until=5m", "concurrency=8"],
    "STEPS": ["", "10:30s", "10:30s, 50:1m"],
}
SLIPS = {
    "URL": ["127.0.0.1:4000/v1", "ftp://gw/v1", "http://user:key@gw/v1", "http://gw /v1"],
    "NAME": ["", "my gateway", "-x"],
    "KEY_NAME": ["sk-1234567890", "AWS_SECRET_ACCESS_KEY", "GATEBENCH_API_KEY2"],
    "OBJECTIVE": ["p95 < 500ms", "p95(latency) < 500", "p97(latency) < 500ms", "latency < 500ms"],
    "OVERRIDE": ["budget.usd", "=2", "budget usd=2"],
    "WINDOW": ["ten minutes", "0-10m", "1:2:3"],
    "STRESS": ["50", "rate=fast", "speed=2"],
    "STEPS": ["10", "10:30s 50:1m", "fast:30s"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in FITS.items() for text in texts])
def test_what_the_plan_reads_fits(name: str, text: str) -> None:
    assert re.search(getattr(shapes, name), text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SLIPS.items() for text in texts])
def test_a_slip_does_not_fit(name: str, text: str) -> None:
    assert not re.search(getattr(shapes, name), text)


def test_the_plan_reads_what_fits() -> None:
    for text in FITS["OBJECTIVE"]:
        assert parse_slo(text)
    assert [len(parse_steps(text)) for text in FITS["STEPS"][1:]] == [1, 2]
    for stress in FITS["STRESS"]:
        make_plan({"targets": [{"url": "http://127.0.0.1:1/v1", "model": "m"}], "replay": {"stress": stress}}, "p")


@pytest.mark.parametrize("text", SLIPS["OBJECTIVE"])
def test_the_plan_refuses_the_same_slips(text: str) -> None:
    with pytest.raises(PlanError):
        parse_slo(text)


def test_every_field_of_a_form_is_named_explained_and_in_its_place() -> None:
    for form in (TargetForm, SweepForm, ReplayForm):
        fields = form.model_json_schema()["properties"]
        assert [field["position"] for field in fields.values()] == list(range(1, len(fields) + 1))
        assert all(field["title"] and field["description"] for field in fields.values())
        assert all(re.search(field["pattern"], field["default"]) for field in fields.values() if "pattern" in field)


def test_the_shape_is_in_the_schema_and_leaves_the_sentence_to_the_plan() -> None:
    fields = TargetForm.model_json_schema()["properties"]
    assert (fields["url"]["pattern"], fields["model"]["minLength"]) == (shapes.URL, 1)
    assert SweepForm.model_json_schema()["properties"]["levels"]["items"]["minimum"] == 1
    assert TargetForm(url="gw").url == "gw"
