"""A number over the nights: what stands behind it, and what its title says."""

import json

import polars as pl

from tasks.charts.theme import finding, to_spec, to_svg
from tasks.charts.trend import ANCHORS, BANDS, MARKS, Beside, nothing_beside, trend

NIGHTS = pl.DataFrame(
    [
        (f"2026-06-{day:02}T02:00:00+00:00", value, value * 0.97, value * 1.03, verdict, verdict == "unchanged")
        for day, value, verdict in ((1, 100.0, "unchanged"), (2, 102.0, "unchanged"), (3, 150.0, "regressed"))
    ],
    schema=["night", "value", "lower", "upper", "verdict", "baseline"],
    orient="row",
)
FIRST, SECOND, LAST = NIGHTS["night"].to_list()
BESIDE = Beside(
    pl.DataFrame([(FIRST, LAST, 2, 101.0, 100.0, 102.0)], schema=ANCHORS, orient="row"),
    pl.DataFrame([(LAST, LAST, "incident 4")], schema=BANDS, orient="row"),
    pl.DataFrame([(LAST, "+48 %")], schema=MARKS, orient="row"),
    pl.DataFrame([(SECOND, "new baseline")], schema=MARKS, orient="row"),
)


def test_the_title_holds_the_last_night_against_its_baseline_and_dates_the_change() -> None:
    chart = trend(NIGHTS, "latency_p95", "over all levels", BESIDE)
    assert finding(chart) == (
        "p95 latency over all levels: 150 ms on 2026-06-03, +49 % from its baseline of 101 ms (2 nights); "
        "last changed on 2026-06-03 (+48 %)"
    )
    assert to_svg(chart).startswith("<svg")


def test_incidents_changes_and_segments_are_named_in_the_drawing() -> None:
    svg = to_svg(trend(NIGHTS, "latency_p95", "over all levels", BESIDE))
    for words in ("incident 4", "+48 %", "new baseline", "the night was", "p95 latency (ms)"):
        assert words in svg, words
    assert "NaN" not in svg


def test_nights_of_the_baseline_are_filled_and_others_hollow() -> None:
    layers = to_spec(trend(NIGHTS, "latency_p95", "over all levels", nothing_beside()))["layer"]
    filled = {layer["transform"][0]["filter"]: layer["mark"].get("filled", False) for layer in layers[-2:]}
    assert filled == {"datum.baseline": True, "!datum.baseline": False}


def test_without_a_baseline_the_title_says_so_and_nothing_is_drawn_behind() -> None:
    chart = trend(NIGHTS, "throughput", "over all levels", nothing_beside())
    assert finding(chart) == "throughput over all levels: 150/s on 2026-06-03, no baseline yet (3 nights)"
    assert "mark_rect" not in json.dumps(to_spec(chart)) and "incident" not in to_svg(chart)


def test_a_night_that_was_not_judged_has_a_word_of_its_own() -> None:
    unjudged = NIGHTS.with_columns(verdict=pl.lit(None, pl.String))
    assert "not judged" in to_svg(trend(unjudged, "latency_p95", "in the replay", BESIDE))


def test_nights_of_one_day_stand_at_a_clock_of_24_hours() -> None:
    days = ["2026-06-01T19:37:00+00:00", "2026-06-01T20:37:00+00:00", "2026-06-01T21:37:00+00:00"]
    evening = NIGHTS.head(3).with_columns(night=pl.Series(days[: NIGHTS.height]))
    svg = to_svg(trend(evening, "latency_p95", "over all levels", nothing_beside()))
    assert ">20:00<" in svg
    assert ">08" not in svg


def test_nights_that_hardly_differ_do_not_look_as_if_they_did() -> None:
    alike = NIGHTS.with_columns(value=pl.Series([29.43, 29.434, 29.438]), lower=None, upper=None)
    layer = to_spec(trend(alike, "throughput", "in the replay", nothing_beside()))["layer"][0]
    low, high = layer["encoding"]["y"]["scale"]["domain"]
    assert (round(low, 2), round(high, 2)) == (29.14, 29.73)
    apart = to_spec(trend(NIGHTS, "throughput", "in the replay", nothing_beside()))["layer"][0]
    assert "domain" not in apart["encoding"]["y"]["scale"]


def test_what_has_no_row_has_no_layer() -> None:
    bare = NIGHTS.with_columns(lower=None, upper=None, baseline=False)
    layers = to_spec(trend(bare, "throughput", "in the replay", nothing_beside()))["layer"]
    assert [layer["mark"]["type"] for layer in layers] == ["line", "point"]
