"""Variance components: against designs whose truth is known, and the textbook's own arithmetic."""

import numpy as np
import pytest

from tasks.stats import components
from tasks.stats.components import Floats, Ints, Squares

RUN, PROCESS, BLOCK = 0.03, 0.02, 0.025


def design(runs: int, processes: int, blocks: int) -> tuple[Ints, Ints]:
    run = np.repeat(np.arange(runs), processes * blocks)
    return run, np.repeat(np.arange(runs * processes), blocks)


def drawn(rng: np.random.Generator, run: Ints, process: Ints, numbers: int = 1) -> Floats:
    """`numbers` independent studies at once, each a column."""
    luck = [rng.normal(0, sd, (len(np.unique(of)), numbers)) for sd, of in ((RUN, run), (PROCESS, process))]
    return np.asarray(luck[0][run] + luck[1][process] + rng.normal(0, BLOCK, (len(run), numbers)))


def squares_of(*rows: tuple[int, int, float]) -> Squares:
    """(run, process, y) a block."""
    run, process, y = zip(*rows, strict=True)
    return components.squares(np.array(y, dtype=float)[:, None], np.array(run), np.array(process))


def test_mean_squares_and_their_factors_are_those_of_a_balanced_design() -> None:
    s = squares_of((0, 0, 1), (0, 0, 3), (0, 1, 5), (0, 1, 7), (1, 2, 2), (1, 2, 4), (1, 3, 4), (1, 3, 6))
    # Run means 4 and 4; process means 2, 6, 3, 5; two blocks each, 1 to either side of their mean.
    assert (s.runs[0, 0], s.processes[0, 0], s.blocks[0, 0]) == (0.0, pytest.approx(20 / 2), pytest.approx(8 / 4))
    assert s.df == (1, 2, 4)
    assert (s.k1, s.k2, s.k3) == (2, 2, 4)


def test_the_factors_of_an_unbalanced_design_are_searles() -> None:
    s = squares_of((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 2, 5), (1, 2, 6))
    # N = 6, Σ n_ij²/n_i = (9 + 1)/4 + 4/2 = 4.5, Σ n_ij²/N = 14/6, Σ n_i²/N = 20/6.
    assert s.df == (1, 1, 3)
    assert (s.k1, s.k2, s.k3) == (pytest.approx(1.5), pytest.approx(4.5 - 14 / 6), pytest.approx(6 - 20 / 6))


@pytest.mark.parametrize("what", ["run", "process", "block", "night"])
@pytest.mark.parametrize("unbalanced", [False, True], ids=["balanced", "a fifth of the blocks is missing"])
def test_components_are_unbiased_and_their_intervals_cover(what: str, unbalanced: bool) -> None:
    """3,000 studies of 8 runs of 3 processes of 5 blocks; the bounds are three Monte-Carlo errors, and of a difference
    of mean squares the recovered limits may be a point off."""
    rng, studies = np.random.default_rng(20261124), 3000
    run, process = design(8, 3, 5)
    if unbalanced:
        keep = np.sort(rng.permutation(len(run))[: len(run) * 4 // 5])
        run, process = run[keep], process[keep]
    s = components.squares(drawn(rng, run, process, studies), run, process)
    process_part = components.of_process(s)
    assert process_part is not None
    truths = {"run": RUN**2, "process": PROCESS**2, "block": BLOCK**2}
    truths["night"] = RUN**2 + PROCESS**2 + BLOCK**2 / 5
    parts = {"run": components.of_run(s), "process": process_part, "block": components.of_block()}
    part = {**parts, "night": components.of_night(s, 5)}[what]
    raw = sum(f * np.diag((s.runs, s.processes, s.blocks)[place]) for f, place in part.terms)
    assert raw.mean() == pytest.approx(truths[what], abs=3 * raw.std() / studies**0.5)
    found = [components.spread(s, part, k) for k in range(studies)]
    sd = truths[what] ** 0.5
    covered = np.mean([f.lower <= sd <= f.upper for f in found if f.lower is not None and f.upper is not None])
    assert 0.93 <= covered <= 0.975, covered


def test_a_spread_that_is_not_there_is_nought_and_its_interval_begins_there() -> None:
    rng = np.random.default_rng(3)
    run, process = design(6, 2, 4)
    y = rng.normal(0, BLOCK, (len(run), 400))
    s = components.squares(y, run, process)
    found = [components.spread(s, components.of_run(s), k) for k in range(400)]
    assert min(f.sd for f in found) == 0.0
    assert np.mean([f.lower == 0.0 for f in found]) >= 0.95


def test_with_one_process_a_run_their_luck_is_the_runs() -> None:
    rng = np.random.default_rng(4)
    run = np.repeat(np.arange(30), 4)
    y = drawn(rng, run, run, 500)
    s = components.squares(y, run, run)
    assert components.of_process(s) is None
    both = np.mean([components.spread(s, components.of_run(s), k).sd ** 2 for k in range(500)])
    assert both == pytest.approx(RUN**2 + PROCESS**2, rel=0.05)


def test_a_known_part_is_taken_off() -> None:
    s = squares_of((0, 0, 1), (0, 0, 3), (1, 1, 2), (1, 1, 4))
    whole = components.spread(s, components.of_block(), 0)
    assert whole.sd == pytest.approx(2**0.5)
    assert components.spread(s, components.of_block(), 0, less=1.0).sd == pytest.approx(1.0)
    assert components.spread(s, components.of_block(), 0, less=9.0).sd == 0.0


@pytest.mark.parametrize(
    "rows", [[(0, 0, 1.0), (0, 0, 2.0)], [(0, 0, 1.0), (1, 1, 2.0)]], ids=["one run", "one block a process"]
)
def test_what_cannot_be_told_apart_is_refused(rows: list[tuple[int, int, float]]) -> None:
    with pytest.raises(ValueError, match="two runs, and two blocks"):
        squares_of(*rows)


def test_a_covariance_is_made_possible_and_keeps_its_variances() -> None:
    raw = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, -0.5]])
    found = components.possible(raw)
    assert np.diag(found) == pytest.approx([1, 1, 0])
    assert np.linalg.eigvalsh(found).min() >= -1e-12
    root = components.root(found)
    assert root @ root.T == pytest.approx(found)
