"""Every figure compiles, and its title says what the numbers say."""

import json
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from storage.records import Ceiling, Estimate, Slo
from tasks.charts.arrivals import arrivals
from tasks.charts.beside import beside
from tasks.charts.failures import failures
from tasks.charts.heat import heat_map
from tasks.charts.history import against_history
from tasks.charts.lag import lag
from tasks.charts.latency_levels import latency_levels
from tasks.charts.over_time import over_time_chart
from tasks.charts.percentiles import percentiles
from tasks.charts.ridges import ridges
from tasks.charts.streams import streams
from tasks.charts.theme import Drawing, finding, log_scale, to_png, to_spec, to_svg
from tasks.charts.throughput import throughput
from tasks.charts.tradeoff import tradeoff

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
CELLS = pl.DataFrame(
    [
        (
            level,
            block + part / 2,
            block + (part + 1) / 2,
            low,
            low * 1.2,
            20,
            0.5,
            slow if (level, block) == (10, 2) else 0,
        )
        for level in (1, 10)
        for block in (1, 2)
        for part in (0, 1)
        for low, slow in ((40.0, 0), (48.0, 15))
    ],
    schema=["level", "from_x", "to_x", "low_ms", "high_ms", "requests", "share", "slow"],
    orient="row",
)
STREAMS = pl.DataFrame(
    [
        (level, quantity, stat, base * k, base * k * 0.9, base * k * 1.1)
        for level, base in ((1, 40.0), (10, 90.0), (0, 50.0))
        for quantity, stat, k in (("ttft", "p50", 0.8), ("ttft", "p95", 1.0), ("tpot", "p50", 0.1), ("itl", "p99", 0.3))
    ],
    schema=["level", "quantity", "stat", "ms", "lower", "upper"],
    orient="row",
)
TRADED = pl.DataFrame(
    [(1, 24.0, 23.0, 25.0, 41.0, 40.0, 42.0), (10, 240.0, 230.0, 250.0, 44.0, 42.0, 47.0),
     (50, 798.0, 790.0, 806.0, 90.0, 88.0, 93.0), (100, 790.0, 780.0, 800.0, 130.0, None, None)],
    schema=["level", "rps", "rps_lower", "rps_upper", "ms", "lower", "upper"],
    orient="row",
)  # fmt: skip
TOGETHER = pl.DataFrame(
    [
        (target, level, metric, value * k, value * k * 0.9, value * k * 1.1)
        for target, k in (("a", 1.0), ("b", 1.5))
        for level, metric, value in ((1, "latency_p95", 40.0), (0, "latency_p95", 50.0), (1, "throughput", 20.0))
    ],
    schema=["target", "level", "metric", "value", "lower", "upper"],
    orient="row",
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
PROMISED = Slo("p95(latency) < 50ms", "p95", "latency", 0.05, None)
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
    "heat map": (
        lambda: heat_map(CELLS),
        "The slowest stretch is a part of block 2 at 10 concurrent: 38 % of its requests lie beyond the p95 of all",
    ),
    "heat map, nothing slow": (
        lambda: heat_map(CELLS.with_columns(slow=pl.lit(1))),
        "No stretch of the sweep stands out: at most 5 % of one lie beyond its level's p95",
    ),
    "heat map of an open loop": (
        lambda: heat_map(CELLS.filter(pl.col("level") == 10).with_columns(level=pl.lit(0))),
        "The slowest stretch is a part of the replay from second 2 on: 38 %",
    ),
    "streams": (
        lambda: streams(STREAMS),
        "The first token comes after 40.0 ms at 1 concurrent and 90.0 ms at 10 (TTFT p95), then one every 4.00 ms at 1",
    ),
    "streams of a replay": (
        lambda: streams(STREAMS.filter(pl.col("level") == 0)),
        "The first token comes after 50.0 ms (TTFT p95), then one every 5.00 ms (p50)",
    ),
    "latency against throughput": (
        lambda: tradeoff(TRADED, "p95", CEILING, [PROMISED]),
        "At most 798/s, at 50 concurrent, with p95 latency at 90.0 ms; up to 240/s keep the objective",
    ),
    "latency against throughput, a knee": (
        lambda: tradeoff(TRADED, "p95", replace(CEILING, knee=10), []),
        "Up to the knee at 10 concurrent 240/s cost 44.0 ms (p95); beyond it latency buys little: 90.0 ms at 798/s",
    ),
    "targets together": (
        lambda: beside(TOGETHER),
        "p95 latency lies furthest apart at 1 concurrent: 40.0 ms on a, 60.0 ms on b",
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
    for raw in (">level<", ">rps<", ">lag_ms<", ">at_block<", ">t_s<", ">low_ms<", ">from_x<", ">value<"):
        assert raw not in svg


def test_one_level_without_an_interval_is_drawn() -> None:
    one = LATENCIES.filter(pl.col("level") == 1).with_columns(
        lower=pl.lit(None, pl.Float64), upper=pl.lit(None, pl.Float64)
    )
    assert finding(latency_levels(one)) == "p95 latency at 1 concurrent is 44.0 ms"
    assert to_svg(latency_levels(one)).startswith("<svg")


def test_a_quantile_that_was_not_measured_is_not_in_the_legend() -> None:
    few = to_spec(latency_levels(LATENCIES.filter(pl.col("stat") != "p99")))
    assert few["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["p50", "p95"]


def test_an_objective_and_a_knee_are_drawn() -> None:
    drawn = json.dumps(to_spec(tradeoff(TRADED, "p95", replace(CEILING, knee=10), [PROMISED])))
    assert "p95(latency) < 50ms" in drawn and "ceiling 798/s" in drawn
    assert drawn.count('"knee": true') == 1


def test_a_tail_that_lags_behind_is_told_in_the_replay() -> None:
    behind = FLOW.with_columns(sent_rps=pl.Series([10.0, 10.0, 30.0]))
    assert finding(arrivals(behind)).endswith("; up to 15.0 requests were due and not yet sent")


def test_a_load_is_not_called_a_replay() -> None:
    drawn = [percentiles(GRID, "load"), ridges(BINS, GRID, "load"), arrivals(FLOW, "load"), streams(STREAMS, "load")]
    drawn += [failures(FAILED.with_columns(level=pl.lit(0)), "load"), lag(LAGS, None, None, "load")]
    assert finding(drawn[2]).startswith("The load peaks at 40.0/s")
    assert finding(drawn[4]).startswith("1.6 % of requests in the load failed")
    assert [chart for chart in drawn if "replay" in json.dumps(to_spec(chart))] == []


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
