"""A page is as large as its bins, not as its rows."""

import json
import re
from collections.abc import Callable

import numpy as np
import polars as pl

from tasks.charts.measured import BUCKETS, HEAT_COLUMNS, HEAT_ROWS
from tasks.report.figures import figures
from tasks.report.html import render_html
from tasks.report.view import RunView

View = Callable[..., RunView]
MS = 1_000_000


def many(each: int) -> pl.LazyFrame:
    """`each` requests in every one of 20 legs of a sweep and in a replay, as the sample log has them."""
    rng = np.random.default_rng(7)
    places = [(level, block) for level in (1, 10, 50, 100) for block in range(1, 6)] + [(0, 1)]
    frames = []
    for level, block in places:
        sent = np.sort(rng.uniform(0, 60_000 * MS, each)).astype(np.int64)
        took = (rng.lognormal(4 + level / 100, 0.4, each) * MS).astype(np.int64)
        frames.append(
            pl.DataFrame({"sent_ns": sent, "end_ns": sent + took}).with_columns(
                level=pl.lit(level, pl.Int32), block=pl.lit(block, pl.Int32)
            )
        )
    return (
        pl.concat(frames)
        .lazy()
        .with_columns(
            target=pl.lit("gw"),
            attempt=pl.lit("first"),
            phase=pl.lit("measured"),
            stream_label=pl.lit("main"),
            intended_ns=pl.col("sent_ns"),
            failure=pl.lit(None, pl.String),
        )
    )


def test_twenty_times_the_rows_make_a_page_that_is_hardly_larger_and_under_five_megabytes(view: View) -> None:
    small, large = (len(render_html(view(), many(each)).encode()) for each in (1_000, 20_000))
    assert large < small * 1.2
    assert large < 5_000_000


def test_no_figure_draws_more_rows_than_its_bins(view: View) -> None:
    most = max(HEAT_COLUMNS * HEAT_ROWS, BUCKETS + 1)
    for figure in figures(view(), many(5_000)):
        assert figure.table.height <= most, figure.name


def test_the_numbers_behind_a_figure_are_cut_for_reading_and_the_page_says_so(view: View) -> None:
    page = render_html(view(), many(1_000))
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert "heat-0" in specs
    assert "more rows are left out here." in page
