from storage.records import Slo, SloResult
from tasks.alerts.rules import should_alert, slo_news

ALL = ("regressed", "slo", "invalid", "failed")
SLO = Slo("p95(latency) < 500ms", "p95", "latency", 0.5, None)


def result(ok: bool | None) -> SloResult:
    return SloResult(SLO, "gw", "replay", 0, 0.6, ok)


def test_a_quiet_night_sends_nothing() -> None:
    for verdict in ("unchanged", "improved", "inconclusive", None):
        assert should_alert(ALL, verdict=verdict, status="completed", slo_results=[result(True)]) == []


def test_each_kind_is_told_where_it_is_asked_for() -> None:
    assert should_alert(ALL, verdict="regressed", status="completed") == ["regressed"]
    assert should_alert(ALL, verdict="invalid", status="completed") == ["invalid"]
    assert should_alert(ALL, verdict=None, status="failed") == ["failed"]
    assert should_alert(ALL, verdict=None, status="interrupted") == ["failed"]
    assert should_alert(ALL, verdict="unchanged", status="completed", slo_results=[result(False)]) == ["slo"]
    assert should_alert(("slo",), verdict="regressed", status="completed") == []


def test_an_objective_with_nothing_to_judge_it_by_is_told() -> None:
    assert should_alert(ALL, verdict="unchanged", status="completed", slo_results=[result(None)]) == ["slo"]


def test_whoever_hears_of_a_failed_run_hears_of_a_cancelled_one() -> None:
    assert should_alert(ALL, verdict=None, status="cancelled") == ["cancelled"]
    assert should_alert(("regressed", "slo"), verdict=None, status="cancelled") == []


def test_the_gravest_kind_comes_first() -> None:
    found = should_alert(ALL, verdict="regressed", status="failed", slo_results=[result(False)])
    assert found == ["failed", "regressed", "slo"]


def told(verdict: str, *changes: str, on: tuple[str, ...] = ("regressed",)) -> list[str]:
    return should_alert(on, verdict=verdict, status="completed", changes=changes)


def test_a_night_tells_of_a_regression_when_it_opens_or_worsens_an_incident_and_not_every_night() -> None:
    assert told("regressed", "opened") == told("regressed", "joined") == told("regressed", "grew") == ["regressed"]
    assert told("regressed") == []
    assert should_alert(("regressed",), verdict="regressed", status="completed") == ["regressed"]


def test_whoever_hears_of_a_regression_hears_of_its_end_and_of_a_new_normal() -> None:
    assert told("unchanged", "fixed") == ["fixed"]
    assert told("improved", "new_normal") == ["improved"]
    assert told("regressed", "opened", "fixed") == ["regressed", "fixed"]
    assert told("unchanged", "fixed", on=("slo",)) == []


def test_an_objective_is_news_when_it_breaks_and_when_it_is_kept_again() -> None:
    assert slo_news([result(False)], None) == ([result(False)], [])
    assert slo_news([result(False)], [result(True)]) == ([result(False)], [])
    assert slo_news([result(False)], [result(False)]) == ([], [])
    assert slo_news([result(None)], [result(False)]) == ([], [])
    assert slo_news([result(True)], [result(False)]) == ([], [result(True)])
    assert slo_news([result(True)], [result(True)]) == ([], [])


def test_the_same_objective_at_another_place_is_news_of_its_own() -> None:
    elsewhere = SloResult(SLO, "gw", "sweep", 10, 0.6, False)
    assert slo_news([result(False), elsewhere], [result(False)]) == ([elsewhere], [])


def test_whoever_hears_of_a_broken_objective_hears_that_it_is_kept_again() -> None:
    def told_of(*on: str) -> list[str]:
        return should_alert(on, verdict="unchanged", status="completed", mended=[result(True)])

    assert told_of("slo") == ["kept"]
    assert told_of("regressed") == []
