"""Every figure compiles, and its title says what the numbers say."""

import json
from collections.abc import Callable

import polars as pl
import pytest

from storage.records import Ceiling, Estimate
from tasks.charts.arrivals import arrivals
from tasks.charts.failures import failures
from tasks.charts.history import against_history, nights
from tasks.charts.lag import lag
from tasks.charts.latency_levels import latency_levels
from tasks.charts.over_time import over_time_chart
from tasks.charts.percentiles import percentiles
from tasks.charts.ridges import ridges
from tasks.charts.theme import Drawing, finding, log_scale, to_png, to_spec, to_svg
from tasks.charts.throughput import throughput

GRID = pl.DataFrame(
    [
        (level, tail, 1 - 10**-tail, base * (1 + tail * (1.2 if level == 50 else 1.0)), 1000)
        for level, base in ((1, 40.0), (50, 90.0), (0, 50.0))
        for tail in (0.0, 0.30103, 1.0, 1.30103, 2.0, 3.0)
    ],
    schema=["level", "tail", "q", "latency_ms", "n"],
    orient="row",
)
BINS = pl.DataFrame(
    [(level, low, low * 1.2, 10, 0.5) for level in (1, 50, 0) for low in (40.0, 48.0)],
    schema=["level", "low_ms", "high_ms", "requests", "share"],
    orient="row",
)
RATES = pl.DataFrame(
    [(1, "throughput", 24.0, 23.5, 24.5), (50, "throughput", 798.0, 790.0, 806.0), (50, "goodput", 700.0, None, None)],
    schema=["level", "metric", "rps", "lower", "upper"],
    orient="row",
)
LATENCIES = pl.DataFrame(
    [
        (level, stat, base * k, base * k * 0.95, None if stat == "p99" else base * k * 1.05)
        for level, base in ((1, 44.0), (100, 365.0))
        for stat, k in (("p50", 0.8), ("p95", 1.0), ("p99", 1.4))
    ],
    schema=["level", "stat", "ms", "lower", "upper"],
    orient="row",
)
TIME = pl.DataFrame(
    [
        (level, block, block + part, 40.0 + block * slope, 60.0, 50)
        for level, slope in ((1, 0.0), (10, 10.0))
        for block in (0, 1)
        for part in (0.25, 0.75)
    ],
    schema=["level", "block", "at_block", "p50_ms", "p95_ms", "requests"],
    orient="row",
)
FAILED = pl.DataFrame(
    [(100, "http_5xx", 12, 1000), (100, "timeout_total", 3, 1000), (10, "http_5xx", 1, 1000)],
    schema=["level", "kind", "requests", "measured"],
    orient="row",
)
RELATIVE = pl.DataFrame(
    [
        (what, night, ratio, None)
        for what in ("p95 latency at 1 concurrent", "p95 latency at 10 concurrent")
        for night, ratio in ((0, -0.02), (1, 0.0), (2, 0.03))
    ]
    + [
        ("p95 latency at 1 concurrent", None, 0.01, "unchanged"),
        ("p95 latency at 10 concurrent", None, 0.48, "regressed"),
    ],
    schema={"what": pl.String, "night": pl.Int64, "ratio": pl.Float64, "verdict": pl.String},
    orient="row",
)
NIGHTS = pl.DataFrame(
    [(1, 140.0, False), (2, 146.0, False), (3, 212.0, True)], schema=["night", "value", "tonight"], orient="row"
)
LAGS = pl.DataFrame(
    [(1, 1, 0, 0.1, "valid"), (2, 10, 0, 0.4, "valid")],
    schema=["leg", "level", "block", "lag_ms", "validity"],
    orient="row",
)
FLOW = pl.DataFrame(
    [(0.0, 10.0, 10.0, 0.0, 2), (0.5, 40.0, 40.0, 0.0, 6), (1.0, 0.0, 0.0, 0.0, 0)],
    schema=["t_s", "due_rps", "sent_rps", "stress_rps", "in_flight"],
    orient="row",
)
CEILING = Ceiling("gw", Estimate(798.0, 790.0, 806.0, 1000, 5), 50, True, "capacity")
RISING = Ceiling("gw", Estimate(798.0, 790.0, 806.0, 1000, 5), 50, False, "none")
OURS = Ceiling("gw", Estimate(798.0, 790.0, 806.0, 1000, 5), 50, False, "generator")

DRAWINGS: dict[str, tuple[Callable[[], Drawing], str]] = {
    "percentiles": (
        lambda: percentiles(GRID),
        "The longest tail is at 50 concurrent: p99 306 ms, 2.5 × the median of 123 ms",
    ),
    "ridges": (lambda: ridges(BINS, GRID), "Nine requests in ten take"),
    "throughput": (
        lambda: throughput(RATES, CEILING),
        "Throughput stops rising: 798/s at 50 concurrent is the ceiling",
    ),
    "throughput, still rising": (
        lambda: throughput(RATES, RISING),
        "Throughput still rises at 50 concurrent: the ceiling is at least 798/s",
    ),
    "throughput, our limit": (lambda: throughput(RATES, OURS), "gatebench itself was the limit at 798/s"),
    "throughput, no ceiling": (lambda: throughput(RATES, None), "Throughput is highest at 50 concurrent: 798/s"),
    "latency": (
        lambda: latency_levels(LATENCIES),
        "p95 latency grows 8.3 × from 1 to 100 concurrent: 44.0 ms to 365 ms",
    ),
    "over time": (
        lambda: over_time_chart(TIME),
        "Not steady: at 10 concurrent the median of block 2 is 25 % above the quietest block",
    ),
    "over time, steady": (
        lambda: over_time_chart(TIME.filter(pl.col("level") == 1)),
        "Steady: block medians lie within 0.0 % of each other at every level",
    ),
    "failures": (lambda: failures(FAILED), "1.5 % of requests at 100 concurrent failed, most as http_5xx"),
    "history": (
        lambda: against_history(RELATIVE),
        "Tonight lies outside the range of the past 3 nights in 1 of 2 numbers",
    ),
    "nights": (
        lambda: nights(NIGHTS, "latency_p95", "at 10 concurrent", "regressed"),
        "p95 latency at 10 concurrent: 212 ms tonight, 140 ms to 146 ms in the 2 nights before",
    ),
    "nights of a rate": (
        lambda: nights(NIGHTS, "throughput", "at 10 concurrent", None),
        "throughput at 10 concurrent: 212/s tonight, 140/s to 146/s in the 2 nights before",
    ),
    "lag": (lambda: lag(LAGS, 5.0, 20.0), "gatebench was on time: at most 0.40 ms late (p99), 20 ms would be too late"),
    "lag, late": (lambda: lag(LAGS, 0.1, 0.2), "gatebench was late in 1 of 2 legs, by up to 0.40 ms (p99)"),
    "lag, no limits": (lambda: lag(LAGS, None, None), "gatebench sent at most 0.40 ms late in every leg (p99)"),
    "arrivals": (lambda: arrivals(FLOW), "The replay peaks at 40.0/s, with 6 requests under way at most"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_compiles_and_its_title_says_the_finding(name: str) -> None:
    draw, title = DRAWINGS[name]
    chart = draw()
    assert finding(chart).startswith(title)
    svg = to_svg(chart)
    assert svg.startswith("<svg")
    assert "NaN" not in svg


@pytest.mark.parametrize("name", DRAWINGS)
def test_no_axis_shows_the_raw_name_of_a_column(name: str) -> None:
    svg = to_svg(DRAWINGS[name][0]())
    for raw in (">level<", ">rps<", ">lag_ms<", ">at_block<", ">t_s<", ">low_ms<"):
        assert raw not in svg


def test_one_level_without_an_interval_is_drawn() -> None:
    one = LATENCIES.filter(pl.col("level") == 1).with_columns(
        lower=pl.lit(None, pl.Float64), upper=pl.lit(None, pl.Float64)
    )
    assert finding(latency_levels(one)) == "p95 latency at 1 concurrent is 44.0 ms"
    assert to_svg(latency_levels(one)).startswith("<svg")


def test_a_tail_that_lags_behind_is_told_in_the_replay() -> None:
    behind = FLOW.with_columns(sent_rps=pl.Series([10.0, 10.0, 30.0]))
    assert finding(arrivals(behind)).endswith("; up to 15.0 requests were due and not yet sent")


def test_a_stress_on_top_is_drawn_and_named() -> None:
    on_top = FLOW.with_columns(stress_rps=pl.Series([0.0, 25.0, 0.0]))
    assert "with a stress of up to 25.0/s on top" in finding(arrivals(on_top))
    assert '"stress"' in json.dumps(to_spec(arrivals(on_top)))
    assert '"stress"' not in json.dumps(to_spec(arrivals(FLOW)))


def test_a_page_takes_the_finding_as_its_heading_and_a_picture_keeps_it() -> None:
    chart = throughput(RATES, CEILING)
    assert "title" not in to_spec(chart, title=False)
    assert "title" in to_spec(chart)
    assert "$schema" not in to_spec(chart)


def test_a_picture_is_a_small_png() -> None:
    png = to_png(latency_levels(LATENCIES))
    assert png.startswith(b"\x89PNG")
    assert len(png) < 200_000


def test_a_log_axis_leaves_out_zero_and_gives_one_value_room() -> None:
    assert log_scale([0.0, 40.0]).to_dict()["domain"] == pytest.approx([40 / 1.12, 40 * 1.12])
    assert log_scale([0.0]).to_dict()["type"] == "linear"
