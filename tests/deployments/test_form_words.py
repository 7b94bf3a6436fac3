"""What the forms in Prefect's pages say and take, without a browser."""

import pytest
from prefect.utilities.schema_tools.validation import ValidationError, validate

from deployments import shipped
from deployments.apply import _flow
from deployments.form import labelled

FORMS = {
    entry["name"]: labelled(_flow(entry["entrypoint"]).parameters.model_dump(exclude_unset=True))
    for entry in shipped.read()
}


def fields(form):
    """(place, field) of every field, those of the groups of a form too."""
    for name, shape in form["properties"].items():
        yield name, shape
    for group, model in form.get("definitions", {}).items():
        for name, shape in model.get("properties", {}).items():
            yield f"{group}.{name}", shape


def untouched(form):
    return {name: shape["default"] for name, shape in form["properties"].items() if "default" in shape}


@pytest.mark.parametrize("name", FORMS)
def test_every_field_has_a_label_an_explanation_and_a_place(name):
    for place, shape in fields(FORMS[name]):
        assert shape["title"][:1].isupper(), place
        assert "_" not in shape["title"], place
        assert len(shape["description"].split()) >= 1, place
        assert "position" in shape, place


@pytest.mark.parametrize("name", FORMS)
def test_no_field_is_a_switch_between_kinds(name):
    assert [place for place, shape in fields(FORMS[name]) if "anyOf" in shape] == []


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_nobody_touched_is_taken(name):
    validate(untouched(FORMS[name]), FORMS[name], raise_on_error=True, ignore_required=True)


@pytest.mark.parametrize("loop", [0, -1, "often"])
def test_a_field_that_may_be_empty_takes_no_slip(loop):
    form = FORMS["ad-hoc-replay"]
    given = untouched(form)
    with pytest.raises(ValidationError):
        validate({**given, "replay": {**given["replay"], "loop_s": loop}}, form, raise_on_error=True)
