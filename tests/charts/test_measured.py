import math

import numpy as np
import polars as pl
import pytest

from storage.files import polars_schema
from tasks.charts.measured import (
    HEAT_COLUMNS,
    HEAT_ROWS,
    PARTS,
    at_quantile,
    heat,
    histogram,
    judged,
    open_loop,
    over_time,
    quantile_grid,
)

MS = 1_000_000
COLUMNS = "target attempt level block phase stream_label intended_ns sent_ns end_ns failure"
SCHEMA = {name: polars_schema()[name] for name in COLUMNS.split()}


def rows(
    latencies_ms: list[float], *, level: int = 10, block: int = 0, target: str = "gw", gap_ms: float = 1.0
) -> pl.DataFrame:
    n = len(latencies_ms)
    sent = [int(k * gap_ms * MS) for k in range(n)]
    return pl.DataFrame(
        {
            "target": [target] * n,
            "attempt": ["first"] * n,
            "level": [level] * n,
            "block": [block] * n,
            "phase": ["measured"] * n,
            "stream_label": ["main"] * n,
            "intended_ns": [s - 5 * MS for s in sent],
            "sent_ns": sent,
            "end_ns": [s + int(ms * MS) for s, ms in zip(sent, latencies_ms, strict=True)],
            "failure": [None] * n,
        },
        schema=SCHEMA,
    )


def test_the_grid_agrees_with_a_slow_reading_of_the_sorted_latencies() -> None:
    values = np.random.default_rng(3).lognormal(3, 0.5, 5000).round(3).tolist()
    grid = quantile_grid(rows(values).lazy())
    ordered = sorted(values)
    slow = [ordered[min(math.floor((1 - 10 ** (-k / 59 * math.log10(5000))) * 5000 + 1e-9), 4999)] for k in range(60)]
    assert grid.height == 60
    assert np.allclose(grid["latency_ms"].to_numpy(), slow, atol=1e-5)
    assert grid["n"].unique().to_list() == [5000]


def test_the_grid_goes_from_the_fastest_to_the_slowest_request() -> None:
    grid = quantile_grid(rows([float(ms) for ms in range(1, 1001)]).lazy())
    assert (grid["latency_ms"][0], grid["latency_ms"][-1]) == (1.0, 1000.0)


def test_the_grid_stays_small_however_many_rows_there_are() -> None:
    many = pl.concat([rows([5.0] * 20_000, level=level) for level in (1, 10)])
    assert quantile_grid(many.lazy()).height == 120


def test_a_quantile_beyond_the_requests_of_a_level_is_none() -> None:
    grid = quantile_grid(rows([float(ms) for ms in range(1, 51)]).lazy())
    assert at_quantile(grid, 0.99) is None
    assert abs((at_quantile(grid, 0.9) or 0) - 45) <= 1


def test_timed_out_requests_are_latencies_and_fast_failures_are_not() -> None:
    frame = rows([10.0, 20.0, 30.0]).with_columns(failure=pl.Series([None, "timeout_total", "http_5xx"]))
    assert judged(frame.lazy()).collect()["latency_ms"].to_list() == [10.0, 20.0]


def test_warm_up_confirm_and_control_are_left_out() -> None:
    frame = rows([1.0, 2.0, 3.0, 4.0]).with_columns(
        phase=pl.Series(["warmup", "measured", "measured", "measured"]),
        attempt=pl.Series(["first", "confirm", "first", "first"]),
        target=pl.Series(["gw", "gw", "control", "gw"]),
    )
    assert judged(frame.lazy()).collect()["latency_ms"].to_list() == [4.0]


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    both = pl.concat([rows([10.0], level=0), rows([10.0], level=1)])
    assert judged(both.lazy()).collect()["latency_ms"].to_list() == [15.0, 10.0]


def test_the_histogram_counts_every_request_once() -> None:
    values = np.random.default_rng(4).lognormal(3, 0.6, 3000).tolist()
    bins = histogram(pl.concat([rows(values), rows(values[:500], level=50)]).lazy())
    totals = bins.group_by("level").agg(pl.col("requests").sum(), pl.col("share").sum()).sort("level")
    assert totals["requests"].to_list() == [3000, 500]
    assert np.allclose(totals["share"].to_numpy(), 1.0)
    assert (bins["low_ms"] < bins["high_ms"]).all()


def test_a_histogram_of_nothing_and_of_one_value_are_drawn_too() -> None:
    assert histogram(rows([]).lazy()).is_empty()
    assert histogram(rows([40.0] * 7).lazy())["requests"].to_list() == [7]


def test_each_leg_is_cut_into_parts_of_equal_time() -> None:
    frame = over_time(rows([5.0] * 400 + [9.0] * 400, block=2).lazy())
    assert frame["at_block"].to_list() == [2.125, 2.375, 2.625, 2.875]
    assert frame["p50_ms"].to_list() == [5.0, 5.0, 9.0, 9.0]
    assert frame["requests"].sum() == 800
    assert frame.height == PARTS


def test_the_heat_map_counts_every_request_once_where_and_when_it_was() -> None:
    cells = heat(pl.concat([rows([5.0] * 40 + [50.0] * 40, block=1), rows([5.0] * 80, block=2)]).lazy())
    assert cells["requests"].sum() == 160
    assert cells["from_x"].unique().sort().to_list() == [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75]
    slow = cells.filter(pl.col("high_ms") > 45)
    assert slow["from_x"].to_list() == [1.5, 1.75]
    assert slow["share"].to_list() == [1.0, 1.0]
    assert cells.filter(pl.col("slow") > 0).is_empty()  # 40 of 160 at one value: none lies beyond the p95


def test_the_heat_map_of_an_open_loop_is_in_seconds_and_counts_requests_beyond_the_p95() -> None:
    cells = heat(rows([5.0] * 96 + [80.0] * 4, level=0, gap_ms=100.0).lazy())
    assert (cells["from_x"][0], round(cells["to_x"][-1], 6)) == (0.0, 9.9)
    assert cells.filter(pl.col("slow") > 0).select("slow", "from_x").row(0) == (4, pytest.approx(9.9 * 4 / 5))


def test_the_heat_map_stays_small_however_many_rows_levels_and_targets_there_are() -> None:
    values = np.random.default_rng(5).lognormal(3, 0.6, 20_000).tolist()
    many = [rows(values, level=level, block=b, target=t) for level in (1, 10, 50, 100) for b in (1, 2) for t in "ab"]
    cells = heat(pl.concat(many).lazy())
    assert cells.select("target", "level", "from_x").n_unique() <= HEAT_COLUMNS
    assert cells.height <= HEAT_COLUMNS * HEAT_ROWS


def test_the_open_loop_counts_what_was_due_sent_and_under_way() -> None:
    frame = rows([250.0] * 10, level=0, gap_ms=100.0)
    flow = open_loop(frame.lazy())
    width = flow["t_s"][1] - flow["t_s"][0]
    assert round(flow["due_rps"].sum() * width) == 10
    assert round(flow["sent_rps"].sum() * width) == 10
    assert flow["in_flight"].max() == 3
    assert flow["in_flight"].to_list()[:2] == [1, 2]
    assert flow["in_flight"][-1] == 1


def test_a_closed_loop_has_no_open_loop_to_show() -> None:
    assert open_loop(rows([5.0]).lazy()).is_empty()


def test_a_long_replay_stays_at_a_few_hundred_buckets() -> None:
    flow = open_loop(rows([20.0] * 40_000, level=0, gap_ms=100.0).lazy())
    assert 60 <= flow.height <= 181


def test_a_run_of_which_nothing_is_left_has_empty_frames() -> None:
    nothing = rows([]).lazy()
    assert [
        frame.height for frame in (quantile_grid(nothing), over_time(nothing), heat(nothing), open_loop(nothing))
    ] == [0] * 4


def test_a_stress_is_under_way_with_the_rest_and_counted_apart() -> None:
    both = pl.concat(
        [
            rows([250.0] * 10, level=0, gap_ms=100.0),
            rows([250.0] * 20, level=0, gap_ms=50.0).with_columns(stream_label=pl.lit("stress")),
        ]
    )
    alone, flow = open_loop(rows([250.0] * 10, level=0, gap_ms=100.0).lazy()), open_loop(both.lazy())
    width = flow["t_s"][1] - flow["t_s"][0]
    assert (flow["sent_rps"] * width).sum() == pytest.approx(10) and (
        flow["stress_rps"] * width
    ).sum() == pytest.approx(20)
    assert flow["in_flight"].max() > alone["in_flight"].max()
    assert alone["stress_rps"].sum() == 0
    assert quantile_grid(both.lazy())["n"].unique().to_list() == [10]
