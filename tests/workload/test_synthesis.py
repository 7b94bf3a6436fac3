from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import NothingMeasured, UsageError
from storage.records import Arrival
from tasks.workload.builtin import builtin
from tasks.workload.distances import mix_distance
from tasks.workload.synthesis import (
    at_starts,
    balanced,
    reference,
    resample_gaps,
    superpose,
    synthesise,
    thin,
)
from tasks.workload.trace import Header, Workload, from_arrivals, read, write

SECOND = 10**9


def bursty(n: int = 400, seed: int = 1, **more: object) -> Workload:
    """Bursts of eight at 20 ms with pauses between them; two models, the larger one in every third request."""
    rng = Random(seed)
    at, rows = 0, []
    for k in range(n):
        at += 20_000_000 if k % 8 else round(rng.expovariate(1 / 3) * SECOND)
        rows.append(Arrival(at, "big" if k % 3 == 0 else "small", 10 + k % 50, 5 + k % 7, None, True, **more))
    return from_arrivals(rows, Header(name="bursty"))


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_same_seed_makes_the_same_bytes(tmp_path_factory, seed):
    folder: Path = tmp_path_factory.mktemp("w")
    write(synthesise(bursty(), seed), folder / "a.parquet")
    write(synthesise(bursty(), seed), folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_another_seed_makes_another_workload():
    assert len({synthesise(bursty(), seed).id for seed in range(20)}) == 20


@settings(deadline=None)
@given(st.lists(st.integers(0, 200 * SECOND), min_size=2, max_size=80), seeds)
def test_gaps_change_places_but_no_arrival_is_lost_or_leaves_the_span(offsets, seed):
    starts = np.sort(np.array(offsets)) - min(offsets)
    period = int(starts[-1]) + 1
    found = resample_gaps(starts, period, Random(seed))
    assert len(found) == len(starts)
    assert found.min() >= 0 and found.max() <= period
    assert (np.diff(found) >= 0).all()


def test_a_window_keeps_its_count():
    # a quiet half and a busy half: 24 arrivals fill a window, so that the halves cannot mix
    starts = np.concatenate((np.arange(0, 500, 10), np.arange(500, 1000, 1))) * SECOND
    found = resample_gaps(starts, 1000 * SECOND, Random(5))
    assert abs(int((found < 500 * SECOND).sum()) - 50) <= 24


def test_the_fast_resampling_is_the_slow_obvious_one():
    draws = Random(3)
    starts = np.sort(np.array([draws.randrange(60 * SECOND) for _ in range(100)]))
    starts = starts - starts[0]
    period = int(starts[-1]) + 1
    found = resample_gaps(starts, period, Random(9))

    rng = Random(9)
    width = max(min(10 * SECOND, period // 60), 24 * period // len(starts))
    edges = sorted({0, *range(int(rng.random() * width), period, width), period})
    turns = [int(rng.random() * 4) for _ in edges[1:]]
    windows = []
    for (left, right), turn in zip(pairwise(edges), turns, strict=True):
        points = [left, *[int(s) for s in starts if left <= s < right], right]
        gaps = [b - a for a, b in pairwise(points)]
        cut = (4 - turn) % 4 or 4
        blocks = [gaps[:cut]] + [gaps[k : k + 4] for k in range(cut, len(gaps), 4)]
        windows.append((left, blocks))
    slow = []
    for left, blocks in windows:
        keyed = sorted((rng.random(), k) for k in range(len(blocks)))
        at = left
        for gap in [g for _, k in keyed for g in blocks[k]][:-1]:
            at += gap
            slow.append(at)
    assert found.tolist() == slow


def test_rows_stay_whole_and_each_is_used_once():
    source = bursty()
    made = synthesise(source, 4)
    columns = ["model", "input_tokens", "output_tokens", "stream"]
    assert made.frame.select(columns).sort(columns).equals(source.frame.select(columns).sort(columns))


def test_sessions_keep_their_turns_and_the_time_between_them():
    rows = [
        Arrival(k * 7 * SECOND + turn * (k + 2) * SECOND, "m", k, turn, None, True, session=f"s{k}")
        for k in range(30)
        for turn in range(3)
    ]
    source = from_arrivals(rows, Header(name="talks"))
    made = synthesise(source, 2)
    assert "sessions kept" in (made.header.method or "")
    for name in ("s0", "s7", "s29"):
        before, after = (w.frame.filter(pl.col("session") == name).sort("offset_ns") for w in (source, made))
        assert after["output_tokens"].to_list() == [0, 1, 2]
        assert after["offset_ns"].diff().to_list() == before["offset_ns"].diff().to_list()
    begun = [w.frame.group_by("session").agg(pl.col("offset_ns").min()).sort("session") for w in (source, made)]
    assert not begun[0].equals(begun[1])
    assert synthesise(source, 2, sessions=False).frame["session"].count() == 0


def test_a_synthetic_workload_says_what_it_is_made_of(tmp_path):
    source = bursty()
    write(synthesise(source, 11, rate_scale=2), tmp_path / "s.parquet")
    header = read(tmp_path / "s.parquet").header
    assert (header.formats, header.parent, header.seed) == (("synthetic",), source.id, 11)
    assert (
        header.method
        == "rate curve, gaps in blocks of 4 inside a window, joint rows, rate × 2 by superposition and thinning"
    )


def test_a_duration_cuts_or_repeats_the_source():
    source = bursty()
    span = source.header.span_ns
    assert len(synthesise(source, 1, duration_ns=span // 2)) == len(reference(source, span // 2)) < len(source)
    assert len(reference(source, 3 * span)) > 2.5 * len(source)
    repeated = reference(bursty(session="s"), 2 * span + 10 * SECOND).frame
    assert repeated["session"].unique().sort().to_list() == ["s", "s~2", "s~3"][: repeated["session"].n_unique()]


@settings(max_examples=50, deadline=None)
@given(seeds, st.floats(0.05, 0.95))
def test_thinning_keeps_the_mix_to_a_request(seed, share):
    frame = bursty().frame
    kept = thin(frame, share, Random(seed))
    assert abs(kept.height - share * frame.height) <= 1
    for model in ("big", "small"):
        wanted = share * frame.filter(pl.col("model") == model).height
        assert abs(kept.filter(pl.col("model") == model).height - wanted) <= 2


def test_thinning_is_spread_over_time_and_fair_to_every_request():
    frame = bursty(90).frame
    chosen = np.zeros(90)
    for seed in range(600):
        chosen[
            frame.with_row_index()["index"].filter(
                frame["offset_ns"].is_in(thin(frame, 0.3, Random(seed))["offset_ns"].implode())
            )
        ] += 1
    # binomial(600, 0.3) has a standard deviation of 11.2: five of them
    assert np.abs(chosen - 180).max() < 56


def test_thinning_takes_a_session_whole_or_not_at_all():
    rows = [Arrival(k * SECOND, "m", 1, 1, None, True, session=f"s{k % 20}") for k in range(100)]
    kept = thin(from_arrivals(rows, Header(name="w")).frame, 0.4, Random(1))
    assert kept.group_by("session").len()["len"].unique().to_list() == [5]
    assert kept.height == 40


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 4))
def test_superposition_keeps_the_mix_and_the_sessions_apart(seed, copies):
    frame = bursty(session="s").frame
    laid = superpose([frame] * copies)
    assert mix_distance(frame["model"], laid["model"]) < 1e-12
    assert laid["session"].n_unique() == copies


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.1, 3.5))
def test_a_scaled_rate_has_as_many_requests_and_the_same_mix(seed, scale):
    source = bursty()
    made = synthesise(source, seed, rate_scale=scale)
    assert abs(len(made) - scale * len(source)) <= 2
    assert mix_distance(source.frame["model"], made.frame["model"]) <= 3 / len(made)


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 300), seeds)
def test_balanced_rows_differ_by_one_use_at_most(rows, wanted, seed):
    counts = np.bincount(balanced(rows, wanted, Random(seed)), minlength=rows)
    assert counts.sum() == wanted
    assert counts.max() - counts.min() <= 1


def test_other_starts_take_the_rows_and_no_sessions():
    source = bursty(session="s")
    made = at_starts(source, [k * SECOND for k in range(1000)], 3, "constant, 1/s")
    assert (len(made), made.header.method) == (1000, "constant, 1/s")
    assert made.frame["offset_ns"].to_list() == [k * SECOND for k in range(1000)]
    assert made.frame["session"].count() == 0
    assert mix_distance(source.frame["model"], made.frame["model"]) < 0.005
    with pytest.raises(UsageError, match="no starts"):
        at_starts(source, [], 3, "constant")


def test_what_cannot_be_made_is_said():
    one = from_arrivals([Arrival(0, "m", 1, 1, None, True)], Header(name="one"))
    with pytest.raises(NothingMeasured, match="'one' has fewer than two arrivals"):
        synthesise(one, 1)
    with pytest.raises(UsageError, match="above 0, not 0"):
        synthesise(builtin(), 1, rate_scale=0)
    with pytest.raises(UsageError, match="leaves no request of 240"):
        synthesise(builtin(), 2, rate_scale=1e-6)
    with pytest.raises(UsageError, match="duration must be above 0"):
        synthesise(builtin(), 1, duration_ns=0)
