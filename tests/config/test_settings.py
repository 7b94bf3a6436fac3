"""Facts of the machine: from the environment, then gatebench.toml, then defaults; and which hosts are ours."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.settings import Settings, is_loopback


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path: Path) -> Path:
    """A folder of its own and no GATEBENCH_ variable."""
    for name in [name for name in os.environ if name.startswith("GATEBENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_data_lies_below_the_working_folder(clean):
    settings = Settings()
    assert settings.home_path == clean / ".gatebench"
    assert settings.book_path == clean / ".gatebench" / "gatebench.duckdb"
    assert (settings.runs_path.name, settings.workloads_path.name) == ("runs", "workloads")
    assert (settings.allowed_hosts, settings.alert_urls, settings.api_key) == ((), (), None)


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(clean, monkeypatch):
    (clean / "gatebench.toml").write_text('home = "from-file"\nflush_s = 2.5\n[timeouts]\nidle_s = 7\n')
    assert Settings().home == Path("from-file")
    monkeypatch.setenv("GATEBENCH_HOME", "/from/env")
    settings = Settings()
    assert (settings.home, settings.flush_s, settings.timeouts.idle_s) == (Path("/from/env"), 2.5, 7.0)


def test_nested_settings_are_written_with_two_underscores(monkeypatch):
    monkeypatch.setenv("GATEBENCH_TIMEOUTS__CONNECT_S", "1.5")
    assert Settings().timeouts.connect_s == 1.5
    assert Settings().timeouts.total_s == 600.0


@pytest.mark.parametrize("text", ["a.example,b.example", "a.example b.example", " a.example , b.example "])
def test_hosts_are_listed_with_commas_or_spaces(monkeypatch, text):
    monkeypatch.setenv("GATEBENCH_ALLOWED_HOSTS", text)
    assert Settings().allowed_hosts == ("a.example", "b.example")


def test_keys_and_alert_urls_are_shown_to_nobody(monkeypatch):
    monkeypatch.setenv("GATEBENCH_API_KEY", "sk-secret")
    monkeypatch.setenv("GATEBENCH_ALERT_URLS", "json://user:hush@127.0.0.1/")
    settings = Settings()
    assert settings.alert_urls[0].get_secret_value() == "json://user:hush@127.0.0.1/"
    shown = repr(settings) + str(settings) + settings.model_dump_json()
    assert "sk-secret" not in shown
    assert "hush" not in shown


def test_a_setting_that_makes_no_sense_is_refused(monkeypatch):
    monkeypatch.setenv("GATEBENCH_FLUSH_S", "-1")
    with pytest.raises(ValidationError, match="flush_s"):
        Settings()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_always_allowed(host):
    assert is_loopback(host)
    assert Settings().allows(host)


@pytest.mark.parametrize(
    "host",
    ["127.evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "0.0.0.0", "10.0.0.1", "127.1", "2130706433", ""],
)
def test_a_name_that_looks_like_this_machine_is_not(host):
    assert not is_loopback(host)
    assert not Settings().allows(host)


def test_another_host_is_allowed_by_its_whole_name_only(monkeypatch):
    monkeypatch.setenv("GATEBENCH_ALLOWED_HOSTS", "gw.example")
    settings = Settings()
    assert settings.allows("gw.example")
    assert not settings.allows("evil.gw.example")
    assert not settings.allows("gw.example.evil")


def test_the_file_of_settings_can_be_named_for_a_flow_that_runs_in_a_folder_of_its_own(monkeypatch, tmp_path):
    (tmp_path / "mine.toml").write_text("book_wait_s = 7")
    monkeypatch.setenv("GATEBENCH_SETTINGS", str(tmp_path / "mine.toml"))
    assert Settings().book_wait_s == 7


def test_a_setting_that_is_refused_does_not_show_what_was_given(monkeypatch, tmp_path):
    (tmp_path / "mine.toml").write_text('alert_urls = [["slack://very-secret-token"]]\napi_key = ["sk-very-secret"]\n')
    monkeypatch.setenv("GATEBENCH_SETTINGS", str(tmp_path / "mine.toml"))
    with pytest.raises(ValidationError, match="alert_urls") as refused:
        Settings()
    assert "very" not in str(refused.value)
