import math

import numpy as np
import polars as pl
import pytest

from storage.files import polars_schema
from storage.records import Cell, Estimate, Failure, Slo
from tasks.stats.blocks import log_mean
from tasks.stats.estimate import cells, turnarounds
from tests.fakes.samples import MS, leg, rows


def find(found: list[Cell], metric: str) -> Estimate | None:
    return next((cell.estimate for cell in found if cell.metric == metric), None)


def test_a_quantile_is_the_geometric_mean_of_its_blocks() -> None:
    blocks = [rows("a", [10.0] * 20), rows("b", [40.0] * 20)]
    found = find(cells(pl.concat(blocks), [leg("a"), leg("b", block=2)]), "latency_p50")
    assert found is not None
    assert found.point == pytest.approx(0.020)
    assert (found.n, found.blocks) == (40, 2)


def test_a_quantile_of_too_few_requests_is_absent() -> None:
    found = cells(rows("a", [10.0] * 99), [leg("a")])
    assert find(found, "latency_p95") is not None
    assert find(found, "latency_p99") is None


def test_one_block_has_a_point_and_no_interval() -> None:
    found = find(cells(rows("a", [10.0] * 20), [leg("a")]), "latency_p50")
    assert found is not None
    assert (found.lower, found.upper) == (None, None)


def test_a_timed_out_request_counts_at_its_age_and_says_at_least() -> None:
    latencies = [10.0] * 18 + [500.0, 600.0]
    failure: list[str | None] = [None] * 18 + [Failure.TIMEOUT_TOTAL, Failure.CENSORED]
    found = cells(rows("a", latencies, failure=failure), [leg("a")])
    p95, p50 = find(found, "latency_p95"), find(found, "latency_p50")
    assert p95 is not None and p50 is not None
    assert p95.point > 0.5 and p95.at_least
    assert p50.point == pytest.approx(0.010) and not p50.at_least


def test_a_timed_out_request_below_the_quantile_does_not_make_it_at_least() -> None:
    failure: list[str | None] = [Failure.CENSORED] + [None] * 19
    found = cells(rows("a", [1.0] + [10.0] * 18 + [20.0], failure=failure), [leg("a")])
    p95, mean = find(found, "latency_p95"), find(found, "latency_mean")
    assert p95 is not None and mean is not None
    assert (p95.at_least, mean.at_least) == (False, True)


def test_a_request_that_gave_up_before_its_first_token_counts_in_ttft_at_its_age() -> None:
    starts = [k * 100 * MS for k in range(20)]
    first: list[int | None] = [start + 30 * MS for start in starts[:15]] + [None] * 5
    failure: list[str | None] = [None] * 15 + [Failure.TIMEOUT_FIRST_BYTE] * 5
    found = cells(rows("a", [100.0] * 20, first_token_ns=first, failure=failure), [leg("a")])
    p50, p95 = find(found, "ttft_p50"), find(found, "ttft_p95")
    assert p50 is not None and p95 is not None
    assert (p50.point, p50.at_least) == (pytest.approx(0.030), False)
    assert (p95.point, p95.at_least) == (pytest.approx(0.100), True)


def test_a_fast_failure_is_an_error_and_no_latency() -> None:
    failure: list[str | None] = [None] * 10 + [Failure.RATE_LIMITED] * 10
    found = cells(rows("a", [100.0] * 10 + [1.0] * 10, failure=failure), [leg("a")])
    p50, errors = find(found, "latency_p50"), find(found, "errors")
    assert p50 is not None and p50.point == pytest.approx(0.1)
    assert errors is not None and (errors.point, errors.n) == (0.5, 20)


def test_throughput_of_a_closed_loop_is_concurrency_over_the_mean_time_between_answers() -> None:
    found = find(cells(rows("a", [50.0] * 20, level=4), [leg("a", level=4)]), "throughput")
    assert found is not None and found.point == pytest.approx(4 / 0.050)


def test_the_time_between_two_requests_of_a_user_lowers_what_is_finished() -> None:
    """4 users, each sends 10 ms after its last answer and waits for 50."""
    ready = [k * 50 * MS - 10 * MS for k in range(20)]
    found = find(cells(rows("a", [50.0] * 20, level=4, intended_ns=ready), [leg("a", level=4)]), "throughput")
    assert found is not None and found.point == pytest.approx(4 / 0.060)


def test_throughput_counts_ok_requests_only() -> None:
    failure: list[str | None] = [None, Failure.HTTP_5XX] * 10
    found = find(cells(rows("a", [50.0] * 20, level=4, failure=failure), [leg("a", level=4)]), "throughput")
    assert found is not None and found.point == pytest.approx(4 / 0.050 / 2)


def test_a_fast_failure_passes_through_the_system_too() -> None:
    """4 users: 100 ms for one that succeeds, then 20 ms for one that is refused, so 4 successes every 120 ms."""
    failure: list[str | None] = [None, Failure.RATE_LIMITED] * 10
    found = find(cells(rows("a", [100.0, 20.0] * 10, level=4, failure=failure), [leg("a", level=4)]), "throughput")
    assert found is not None and found.point == pytest.approx(4 / 0.120)


def test_a_block_without_a_success_counts_as_nothing() -> None:
    frame = pl.concat([rows("a", [50.0] * 20), rows("b", [50.0] * 20, failure="reset")])
    found = find(cells(frame, [leg("a"), leg("b", block=2)]), "throughput")
    assert found is not None
    assert (found.point, found.lower, found.blocks) == (pytest.approx(2 / 0.050 / 2), None, 2)


def test_no_rate_is_known_better_than_one_per_cent() -> None:
    frame = pl.concat([rows(name, [50.0] * 20) for name in "abc"])
    found = find(cells(frame, [leg(name, block=k) for k, name in enumerate("abc")]), "throughput")
    assert found is not None and found.upper is not None
    assert found.upper / found.point == pytest.approx(1.01)


def test_goodput_counts_requests_inside_every_unscoped_objective() -> None:
    slos = [Slo("p95(latency) < 60ms", "p95", "latency", 0.060, None), Slo("x", "p95", "latency", 0.001, 10)]
    found = cells(rows("a", [50.0] * 15 + [70.0] * 5), [leg("a")], slos=slos)
    throughput, goodput = find(found, "throughput"), find(found, "goodput")
    assert throughput is not None and goodput is not None
    assert goodput.point == pytest.approx(throughput.point * 0.75)


@pytest.mark.parametrize(
    ("stat", "quantity", "level"), [("mean", "latency", None), ("rate", "errors", None), ("p95", "latency", 10)]
)
def test_an_objective_that_no_request_can_keep_by_itself_makes_no_goodput(
    stat: str, quantity: str, level: int | None
) -> None:
    found = cells(rows("a", [50.0] * 20), [leg("a")], slos=[Slo("x", stat, quantity, 0.001, level)])
    assert find(found, "goodput") is None


def test_a_request_without_a_stream_keeps_every_objective_on_its_first_token() -> None:
    slos = [Slo("p95(ttft) < 10ms", "p95", "ttft", 0.010, None)]
    found = cells(rows("a", [50.0] * 20, stream=False), [leg("a")], slos=slos)
    throughput, goodput = find(found, "throughput"), find(found, "goodput")
    assert throughput is not None and goodput is not None and goodput.point == pytest.approx(throughput.point)


def test_a_stream_keeps_an_objective_on_gaps_if_enough_of_its_own_do() -> None:
    gaps = [[1_000] * 9 + [90_000]] * 5 + [[1_000] * 8 + [90_000] * 2] * 15
    slos = [Slo("p90(itl) < 20ms", "p90", "itl", 0.020, None)]
    found = cells(rows("a", [50.0] * 20, chunk_gaps_us=gaps), [leg("a")], slos=slos)
    throughput, goodput = find(found, "throughput"), find(found, "goodput")
    assert throughput is not None and goodput is not None and goodput.point == pytest.approx(throughput.point / 4)


def test_without_objectives_there_is_no_goodput() -> None:
    assert find(cells(rows("a", [50.0] * 20), [leg("a")]), "goodput") is None


def test_stream_metrics_come_from_the_stamps() -> None:
    frame = rows(
        "a",
        [100.0] * 20,
        first_token_ns=[k * 100 * MS + 30 * MS for k in range(20)],
        last_token_ns=[k * 100 * MS + 90 * MS for k in range(20)],
        output_tokens=4,
        chunk_gaps_us=[[20_000, 20_000, 20_000]] * 20,
    )
    found = cells(frame, [leg("a")])
    for metric, value in {"ttft_p50": 0.030, "tpot_p50": 0.020, "itl_p50": 0.020}.items():
        estimate = find(found, metric)
        assert estimate is not None and estimate.point == pytest.approx(value)
    tokens = find(found, "output_tokens_per_s")
    assert tokens is not None and tokens.point == pytest.approx(2 / 0.1 * 4)


def test_where_no_usage_was_told_the_chunks_of_a_stream_are_its_tokens() -> None:
    stamps = {
        "first_token_ns": [k * 100 * MS + 30 * MS for k in range(20)],
        "last_token_ns": [k * 100 * MS + 90 * MS for k in range(20)],
        "chunk_gaps_us": [[20_000, 20_000, 20_000]] * 20,
    }
    told, untold = (cells(rows("a", [100.0] * 20, output_tokens=n, **stamps), [leg("a")]) for n in (4, None))
    for metric in ("tpot_p50", "output_tokens_per_s"):
        a, b = find(told, metric), find(untold, metric)
        assert a is not None and b is not None and a.point == pytest.approx(b.point)
    plain = cells(rows("a", [100.0] * 20, output_tokens=None, stream=False, **stamps), [leg("a")])
    assert find(plain, "tpot_p50") is None


def test_warm_up_cool_down_invalid_and_calibration_legs_are_left_out() -> None:
    frame = pl.concat(
        [
            rows("a", [10.0] * 20, phase=["warmup"] * 5 + ["measured"] * 10 + ["cooldown"] * 5),
            rows("bad", [999.0] * 20),
            rows("cal", [1.0] * 20),
        ]
    )
    legs = [leg("a"), leg("bad", validity="invalid"), leg("cal", series="calibration")]
    found = cells(frame, legs)
    errors = find(found, "errors")
    assert errors is not None and errors.n == 10
    assert {cell.series for cell in found} == {"sweep"}


def test_an_open_loop_leg_is_cut_into_five_blocks_and_knows_its_response_time() -> None:
    frame = rows("a", [10.0] * 100, level=0, intended_ns=[k * 10 * MS - 5 * MS for k in range(100)])
    found = cells(frame, [leg("a", series="replay", loop="open", level=0)])
    latency, response = find(found, "latency_p50"), find(found, "response_p50")
    rate = find(found, "throughput")
    assert latency is not None and latency.blocks == 5 and latency.point == pytest.approx(0.010)
    assert response is not None and response.point == pytest.approx(0.015)
    assert rate is not None and rate.point == pytest.approx(100, rel=1e-6) and rate.lower is None


def test_chunks_that_come_together_have_gaps_of_zero() -> None:
    found = cells(rows("a", [50.0] * 20, chunk_gaps_us=[[0, 0, 0, 0, 4_000]] * 20), [leg("a")])
    p50, p95 = find(found, "itl_p50"), find(found, "itl_p95")
    assert p50 is not None and p95 is not None
    assert (p50.point, p95.point) == (0.0, pytest.approx(0.004))


def test_an_open_loop_that_the_target_cannot_follow_reports_what_it_sustained() -> None:
    """100/s are due for 2 s; the target ends one every 20 ms, so the last waits for 2 s more."""
    due = [k * 10 * MS for k in range(200)]
    frame = rows("a", [20.0] * 200, level=0, intended_ns=due)
    found = cells(frame, [leg("a", series="load", loop="open", level=0)])
    rate = find(found, "throughput")
    assert rate is not None and rate.point == pytest.approx(50, rel=0.01)


def test_a_cell_without_a_success_has_only_its_error_rate() -> None:
    found = cells(rows("a", [10.0] * 20, failure="timeout_total"), [leg("a")])
    assert [cell.metric for cell in found] == ["errors"]


def test_nothing_measured_gives_nothing() -> None:
    assert cells(pl.DataFrame(schema=polars_schema()), [leg("a")]) == []
    assert cells(pl.DataFrame(schema=polars_schema()), []) == []


def test_the_time_between_two_requests_of_a_user_is_told() -> None:
    frame = rows("a", [100.0] * 20, intended_ns=[k * 100 * MS - 10 * MS for k in range(20)])
    assert turnarounds(frame, [leg("a")])["a"] == pytest.approx(0.1)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_block_interval_covers_the_truth_19_times_in_20(q: float) -> None:
    """5 blocks x 200 requests, AR(1) .4 inside a block, block luck 2.5 % (the design's own model)."""
    from scipy.signal import lfilter
    from scipy.stats import norm

    from tasks.stats.quantiles import type8

    rng = np.random.default_rng(20261124)
    trials, covered = 2000, 0
    truth = 0.3 * norm.ppf(q)
    for _ in range(trials):
        noise = lfilter([math.sqrt(1 - 0.16)], [1, -0.4], rng.standard_normal((5, 250)), axis=1)[:, 50:]
        logs = 0.3 * noise + rng.normal(0, 0.025, (5, 1))
        points = [type8(np.sort(np.exp(block)), q)[0] for block in logs]
        found = log_mean(points, 1000)
        assert found.lower is not None and found.upper is not None
        covered += math.log(found.lower) <= truth <= math.log(found.upper)
    error = 2 * math.sqrt(0.95 * 0.05 / trials)
    assert 0.93 - error <= covered / trials <= 0.97 + error
