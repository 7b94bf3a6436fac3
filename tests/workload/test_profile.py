import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from storage.errors import NothingMeasured
from storage.records import Arrival
from tasks.workload.builtin import builtin
from tasks.workload.profile import JointBin, ModelShare, log2_edges, profile
from tasks.workload.trace import Header, from_arrivals
from tasks.workload.words import in_words, narrowed

SECOND = 10**9


def of(*arrivals: Arrival, **header):
    return from_arrivals(arrivals, Header(name="w", **header))


def arrival(seconds: float, model="m", i=10, o=5, cap=None, *, stream=True, **more) -> Arrival:
    return Arrival(round(seconds * SECOND), model, i, o, cap, stream, **more)


def test_a_profile_counts_models_streams_caps_and_errors():
    p = profile(
        of(
            arrival(0, "a", cap=20),
            arrival(1, "a", stream=False),
            arrival(2, "b", i=None, o=None, failure="429"),
            arrival(3, "a", cache_hit=True),
        )
    )
    assert (p.requests, p.span_s, p.mean_rps) == (4, 3.0, 1.0)
    assert p.models == (ModelShare("a", 3, 0.75, 10.0, 5.0), ModelShare("b", 1, 0.25, None, None))
    assert (p.stream_share, p.cache_hit_share) == (0.75, 1.0)
    assert p.caps is not None and (p.caps.n, p.caps["p50"]) == (1, 20.0)
    assert (p.errors, p.error_share) == ({"429": 1}, 0.25)
    assert p.input_tokens is not None and (p.input_tokens.n, p.input_tokens.unknown) == (3, 1)


def test_latency_and_first_token_are_of_requests_that_succeeded():
    p = profile(
        of(
            arrival(0, duration_ns=SECOND, first_token_ns=SECOND // 4),
            arrival(1, duration_ns=3 * SECOND, stream=False),
            arrival(2, duration_ns=9 * SECOND, failure="408"),
        )
    )
    assert p.latency_s is not None and (p.latency_s.n, p.latency_s["p100"]) == (2, 3.0)
    assert p.ttft_s is not None and (p.ttft_s.n, p.ttft_s["p50"]) == (1, 0.25)
    assert p.concurrency is not None and p.concurrency.max == 2


def test_the_joint_table_keeps_which_output_goes_with_which_input():
    p = profile(of(arrival(0, i=100, o=0), arrival(1, i=127, o=0), arrival(2, i=128, o=1), arrival(3, i=1, o=None)))
    assert p.joint == (JointBin(64, 0, 2), JointBin(128, 1, 1))


@given(st.integers(0, 2**40))
def test_an_edge_is_the_power_of_two_below(value):
    edge = int(log2_edges(np.array([value]))[0])
    assert edge == (0 if value == 0 else 1 << (value.bit_length() - 1))


def test_spearman_is_that_of_scipy_and_absent_where_nothing_varies():
    rng = np.random.default_rng(3)
    pairs = [(int(i), int(o)) for i, o in zip(rng.integers(1, 50, 80), rng.integers(1, 50, 80), strict=True)]
    p = profile(of(*(arrival(n, i=i, o=o) for n, (i, o) in enumerate(pairs))))
    assert p.spearman == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic)
    assert profile(of(*(arrival(n, i=n, o=5) for n in range(9)))).spearman is None


def test_sessions_have_turns_and_think_time():
    p = profile(
        of(
            arrival(0, session="s", user="u", duration_ns=SECOND),
            arrival(4, session="s", user="u", duration_ns=SECOND),
            arrival(1, session="t", user="u"),
            arrival(2),
        )
    )
    assert p.sessions is not None
    assert (p.sessions.sessions, p.sessions.users, p.sessions.in_session) == (2, 1, 3)
    assert p.sessions.turns["p100"] == 2
    assert p.sessions.think_s is not None and p.sessions.think_s["p50"] == 3.0
    assert profile(of(arrival(0))).sessions is None


def test_a_single_arrival_has_a_profile_and_an_empty_workload_has_none():
    p = profile(of(arrival(0)))
    assert (p.requests, p.span_s, p.mean_rps, p.gaps, p.concurrency, p.spearman) == (1, 0.0, None, None, None, None)
    assert in_words(p).startswith("w (")
    with pytest.raises(NothingMeasured, match="'w' holds no arrival"):
        profile(of())


def test_a_profile_is_json_without_nan():
    p = profile(of(arrival(0, duration_ns=5), arrival(0), arrival(1, failure="x", i=None, o=None)))
    again = json.loads(json.dumps(p.to_json(), allow_nan=False))
    assert (again["schema"], again["requests"]) == ("gatebench.profile/1", 3)


def test_the_words_put_concurrency_sizes_and_models_before_the_rest():
    rows = [
        arrival(
            n / 4, "big" if n % 4 else "small", i=50 + n, o=20, cap=64, duration_ns=SECOND // 2, session=f"s{n % 8}"
        )
        for n in range(40)
    ]
    lines = in_words(profile(of(*rows, arrival(10, failure="503"), started_at="2026-11-24T06:49:51+00:00"))).split("\n")
    assert 10 <= len(lines) <= 20
    heads = [line[:14].strip() for line in lines]
    assert [h for h in heads if h][1:] == [
        "concurrency",
        "arrivals",
        "burstiness",
        "input  tokens",
        "output tokens",
        "in and out",
        "models",
        "kind",
        "sessions",
        "as recorded",
        "errors",
    ]
    assert lines[0].endswith("41 requests in 10.0 s, 4.00 a second, from 2026-11-24T06:49:51 UTC")
    assert "models         big 73%, small 24%, m 2%" in lines
    assert "errors         2.4%: 503 × 1" in lines


def test_pauses_are_gaps_of_more_than_ten_mean_ones():
    p = profile(of(*(arrival(t) for t in (*range(50), 200, *range(201, 251)))))
    assert p.gaps is not None
    assert (p.gaps.idle, p.gaps.longest_idle_at_s) == (1, 49.0)
    assert p.gaps.idle_share == pytest.approx(151 / 250)
    assert "longest idle 2.5 min" in in_words(p)


def test_the_hours_of_the_week_are_there_from_a_day_on():
    monday_noon = "2026-11-23T12:30:00+00:00"
    half_a_day = [arrival(60 * k) for k in range(12 * 60)]
    assert profile(of(*half_a_day, started_at=monday_noon)).week == ()
    nine_days = profile(of(*(arrival(60 * k) for k in range(9 * 24 * 60 + 1)), started_at=monday_noon))
    assert len(nine_days.week) == 168
    by_hour = {(w.weekday, w.hour): w for w in nine_days.week}
    assert by_hour[0, 12].seconds == 5400  # half an hour on the first Monday, an hour on the second
    assert by_hour[2, 12].seconds == 3600 + 1800
    assert by_hour[3, 12].seconds == 3600
    assert by_hour[3, 12].rps == pytest.approx(1 / 60)
    assert sum(w.rps * w.seconds for w in nine_days.week) == pytest.approx(9 * 24 * 60 + 1)
    assert profile(of(*(arrival(60 * k) for k in range(2 * 24 * 60)))).week == ()


def test_a_block_is_reused_when_an_earlier_request_began_with_it():
    rows = [
        arrival(0, prefix_blocks=(1, 2, 3)),
        arrival(1, prefix_blocks=(1, 2, 4, 5)),
        arrival(2, prefix_blocks=(6,)),
        arrival(3),
    ]
    p = profile(of(*rows, block_tokens=512))
    assert p.prefixes is not None
    assert (p.prefixes.known, p.prefixes.blocks, p.prefixes.block_tokens) == (3, 8, 512)
    assert p.prefixes.blocks_shared == pytest.approx(2 / 8)
    assert p.prefixes.requests_sharing == pytest.approx(1 / 3)
    assert "prefixes       25% of prompt blocks seen before, in 33% of requests" in in_words(p)
    assert profile(of(arrival(0))).prefixes is None


def test_token_grids_have_a_value_for_every_per_cent():
    p = profile(of(*(arrival(k, i=k, o=None) for k in range(101))))
    assert p.token_grids["input"] == pytest.approx([float(k) for k in range(101)])
    assert p.token_grids["output"] == ()


def test_a_coarse_clock_is_warned_of():
    assert "stamped to whole 3.0 s" in in_words(profile(of(arrival(0), arrival(3), resolution_ns=3 * SECOND)))


def test_the_builtin_workload_is_said_to_be_about_poisson():
    text = in_words(profile(builtin()))
    assert "burstiness     about Poisson" in text
    assert "concurrency    unknown: no durations were recorded" in text


def test_long_lines_are_carried_over_below_their_text():
    words = "models         " + "gpt-4o 50%, " * 7 + "mini\nkind           short"
    first, second, third = narrowed(words, 80).split("\n")
    assert (len(first) <= 80, second, third) == (
        True,
        " " * 15 + "gpt-4o 50%, gpt-4o 50%, mini",
        "kind           short",
    )
