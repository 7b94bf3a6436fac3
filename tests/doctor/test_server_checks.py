"""What the doctor says of a Prefect server, from what it said of itself."""

from dataclasses import replace

import pytest

from tasks.doctor.server import Server, server

CLOSED = Server(
    "http://127.0.0.1:4200/api",
    version="3.8.8",
    answers_anybody=False,
    answers_any_page=False,
    forgery_checked=True,
    analytics=False,
    second_ui=False,
)
OPEN = replace(
    CLOSED, answers_anybody=True, answers_any_page=True, forgery_checked=False, analytics=True, second_ui=True
)


def grades(seen: Server | None, loopback: bool = True) -> dict[str, str]:
    return {one.name: one.grade.value for one in server(seen, "3.8.8", loopback)}


def test_a_closed_server_is_fine():
    assert set(grades(CLOSED).values()) == {"ok"}


def test_no_address_is_fine_too():
    assert grades(None) == {"Prefect server": "ok"}


def test_prefects_own_defaults_are_told_each_with_the_setting_that_closes_it():
    found = {one.name: one for one in server(OPEN, "3.8.8", True)}
    assert {name: one.grade for name, one in found.items()} == {
        "Prefect server": "ok",
        "Prefect login": "warn",
        "Prefect CORS": "bad",
        "Prefect CSRF": "warn",
        "Prefect analytics": "warn",
        "Prefect UI V2": "warn",
    }
    for name, setting in {
        "Prefect login": "PREFECT_SERVER_API_AUTH_STRING",
        "Prefect CORS": "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS",
        "Prefect CSRF": "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED",
        "Prefect analytics": "PREFECT_SERVER_ANALYTICS_ENABLED",
        "Prefect UI V2": "PREFECT_SERVER_UI_V2_ENABLED",
    }.items():
        assert setting in found[name].mend


def test_a_server_without_a_login_that_others_reach_is_bad():
    assert grades(OPEN, loopback=False)["Prefect login"] == "bad"


def test_any_page_is_only_a_warning_where_a_login_is_asked_for():
    assert grades(replace(CLOSED, answers_any_page=True))["Prefect CORS"] == "warn"


def test_a_server_that_does_not_answer_says_so_without_the_password_in_its_address():
    found = server(Server("http://u:secret@127.0.0.1:4200/api", error="no Prefect server answers"), "3.8.8", True)
    assert [one.grade for one in found] == ["warn", "bad"]
    assert "secret" not in str(found)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4200", "http://127.0.0.1:4200/"])
def test_an_address_without_api_says_how_it_is_written(url):
    found = server(Server(url, error="answers 404"), "3.8.8", True)
    assert found[0].mend == "export PREFECT_API_URL=http://127.0.0.1:4200/api"


def test_another_version_is_told():
    found = server(replace(CLOSED, version="3.9.0"), "3.8.8", True)[0]
    assert (found.grade, found.mend) == ("warn", 'there: pip install "prefect==3.8.8"')
