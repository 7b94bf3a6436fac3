"""Differences of two targets over paired blocks, and when they are said to be one."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import t as student

from storage.records import Word
from tasks.stats.pair_errors import Counts, compare_errors, share_apart, upper_mid_p
from tasks.stats.pair_gate import CANDIDATE, LENGTHS, Match, compare, levels_again, overall
from tasks.stats.pair_rules import PairRules
from tasks.stats.paired import Figure, Pair, apart, difference, figures, pairs
from tests.bench.pairs import CHANGES, share, whole, worlds
from tests.fakes.samples import leg, rows

RULES = PairRules()


def pair(ratios: list[float], metric: str = "latency_p95", level: int | None = 10) -> Pair:
    return Pair(metric, level, np.full(len(ratios), 0.1), 0.1 * np.array(ratios))


def match(found: list[Pair], again: list[Pair] | None = None) -> Match:
    return Match("main", "cand", "candidate", found, again)


def test_a_difference_is_the_mean_of_paired_logs_with_students_interval() -> None:
    made = pair([1.10, 1.20, 1.15, 1.12, 1.18])
    logs = np.log([1.10, 1.20, 1.15, 1.12, 1.18])
    half = student.ppf(0.975, 4) * logs.std(ddof=1) / math.sqrt(5)
    [one] = compare(match([made]))
    assert one.effect == pytest.approx(math.expm1(logs.mean()))
    assert (one.lower, one.upper) == pytest.approx((math.expm1(logs.mean() - half), math.expm1(logs.mean() + half)))


def test_luck_that_a_block_shares_falls_out() -> None:
    luck = np.array([1.0, 2.0, 0.5, 1.5, 3.0])
    away = difference(Pair("latency_p50", 1, 0.1 * luck, 0.11 * luck))
    assert away is not None
    assert away.ends == pytest.approx((0.1, 0.1))


def test_less_throughput_is_worse() -> None:
    [one] = compare(match([pair([0.5] * 5, "throughput")]))
    assert one.effect == pytest.approx(1.0)
    assert one.by == pytest.approx(-0.05)


@pytest.mark.parametrize("blocks", [3, 5, 10])
def test_the_interval_covers_a_known_ratio_whatever_luck_a_block_has(blocks: int) -> None:
    rng, runs, inside, apart_inside = np.random.default_rng(blocks), 2000, 0, 0
    for _ in range(runs):
        shared = rng.normal(0, 0.5, blocks)
        own = rng.normal(0, 0.05, (2, blocks))
        made = Pair("latency_p50", 1, 0.1 * np.exp(shared + own[0]), 0.112 * np.exp(shared + own[1]))
        away = difference(made)
        assert away is not None
        low, high = away.ends
        inside += low <= 0.12 <= high
        added = replace(made, baseline=0.1 * np.exp(shared), candidate=0.1 * np.exp(shared) + rng.normal(4, 1, blocks))
        _, least, most = apart(added)
        assert least is not None and most is not None
        apart_inside += least <= 4 <= most
    error = 3 * math.sqrt(0.95 * 0.05 / runs)
    assert inside / runs == pytest.approx(0.95, abs=error)
    assert apart_inside / runs == pytest.approx(0.95, abs=error)


def test_paired_intervals_cover_the_truth_for_every_metric_and_the_mean() -> None:
    shift, runs = CHANGES["all +10 %"], 400
    inside: dict[tuple[str, bool], list[float]] = {}
    for found in worlds(11, runs, lasting=False):
        for one in compare(match(found.pairs(0, shift))):
            assert one.lower is not None and one.upper is not None
            inside.setdefault((one.metric, one.level is None), []).append(one.lower <= 0.1 <= one.upper)
    covered = {key: float(np.mean(values)) for key, values in inside.items()}
    # D and the rate of spikes are a target's own through all blocks, which no interval over its blocks can know of.
    least = {"latency_p50": 0.94, "ttft_p95": 0.92, "latency_p95": 0.91, "latency_p99": 0.91, "throughput": 0.92}
    error = 3 * math.sqrt(0.05 * 0.95 / runs)
    assert {key: share for key, share in covered.items() if not least[key[0]] - error <= share <= 0.97 + error} == {}


def test_two_equal_targets_seldom_alarm_and_a_slower_one_is_found() -> None:
    found = worlds(5, 150)
    error = 3 / math.sqrt(150)
    assert share(found, CHANGES["nothing"], whole) <= 0.01 + error * math.sqrt(0.01 * 0.99)
    assert share(found, CHANGES["all +15 %"], whole) >= 0.99 - error * math.sqrt(0.99 * 0.01)
    assert share(found, CHANGES["all +10 %"], whole) >= 0.90 - error * math.sqrt(0.90 * 0.10)
    assert share(found, CHANGES["tail +20 %"], whole) >= 0.95 - error * math.sqrt(0.95 * 0.05)


SLOW = [1.14, 1.16, 1.15, 1.15, 1.15]


def test_a_slower_candidate_is_measured_again_before_it_is_regressed() -> None:
    first = compare(match([pair(SLOW), pair([1.0, 1.01, 0.99, 1.0, 1.0], level=1)]))
    assert [(one.verdict, one.reason) for one in first] == [("inconclusive", CANDIDATE), ("unchanged", "")]
    assert levels_again(first) == [10]
    assert overall(first) == ("inconclusive", CANDIDATE)
    assert overall(compare(match([pair(SLOW)], [pair(SLOW)]))) == ("regressed", "")


def test_what_is_not_seen_again_is_unchanged_and_says_so() -> None:
    [one] = compare(match([pair(SLOW)], [pair([1.0, 1.02, 0.98, 1.0, 1.01])]))
    assert (one.verdict, one.reason) == ("unchanged", "not confirmed")
    assert one.again == pytest.approx(0.002, abs=0.001)


def test_without_a_confirm_the_interval_and_the_family_alone_decide() -> None:
    [one] = compare(match([pair(SLOW)]), replace(RULES, confirm=False))
    assert (one.verdict, one.reason) == ("regressed", "not measured again")


def test_an_interval_that_reaches_below_the_least_effect_is_no_regression() -> None:
    [one] = compare(match([pair([1.02, 1.021, 1.019, 1.02, 1.02])], [pair(SLOW)]))
    assert one.lower is not None and 0 < one.lower < RULES.min_effect
    assert one.verdict == Word.UNCHANGED


def test_every_level_is_measured_again_where_only_their_mean_is_a_candidate() -> None:
    quiet = [pair([1.05, 1.0, 1.1, 1.0, 1.05], level=level) for level in (1, 10)]
    found = compare(match([*quiet, pair(SLOW, level=None)]))
    assert [one.reason for one in found] == ["", "", CANDIDATE]
    assert levels_again(found) == [1, 10]


def test_too_few_blocks_are_inconclusive_and_never_a_pass() -> None:
    [two] = compare(match([pair([1.0, 1.0])]))
    [one] = compare(match([pair([1.0])]))
    assert (two.verdict, two.reason) == ("inconclusive", "2 blocks; 3 are needed")
    assert (one.verdict, one.effect) == ("inconclusive", None)
    assert overall([two, one]) == ("inconclusive", "2 blocks; 3 are needed")


def test_blocks_too_noisy_to_see_anything_are_inconclusive() -> None:
    word, reason = overall(compare(match([pair([0.5, 2.0, 0.7, 1.6, 1.0])])))
    assert (word, reason.partition(":")[0]) == ("inconclusive", "too noisy")


def test_a_large_least_effect_makes_quiet_blocks_no_noisier() -> None:
    rules = PairRules(min_effect=0.5)
    assert overall(compare(match([pair([1.0, 1.01, 0.99, 1.0, 1.0])]), rules), rules) == ("unchanged", "")


def test_longer_answers_make_the_times_of_a_token_lead() -> None:
    longer = [pair([1.2] * 5, "output_tokens"), pair(SLOW), pair([1.0, 1.01, 0.99, 1.0, 1.0], "tpot_p50")]
    tokens, latency, tpot = compare(match(longer))
    assert (latency.verdict, latency.reason, latency.leads) == ("", LENGTHS, False)
    assert (tpot.verdict, tpot.leads) == ("unchanged", True)
    assert (tokens.verdict, tokens.effect) == ("", pytest.approx(0.2))
    same = compare(match([pair([1.04] * 5, "output_tokens"), pair(SLOW), pair([1.0] * 5, "tpot_p50")]))
    assert [one.leads for one in same] == [False, True, False]


def test_an_overhead_is_told_and_not_judged() -> None:
    found = compare(Match("direct", "gw", "overhead", [pair(SLOW)]))
    assert overall(found) == (None, "")
    assert found[0].by == pytest.approx(0.015)


def test_a_candidate_whose_requests_never_ended_is_slower_and_a_baseline_like_that_tells_nothing() -> None:
    late = replace(pair(SLOW), at_least=True)
    assert compare(match([late], [late]))[0].verdict == "regressed"
    assert compare(match([replace(pair([0.5] * 5), at_least=True)]))[0].verdict == "unchanged"  # not improved
    [blind] = compare(match([replace(pair(SLOW), blind=True)]))
    assert (blind.verdict, blind.effect) == ("inconclusive", None)


def test_a_difference_in_milliseconds_has_an_interval_of_its_own() -> None:
    made = Pair("latency_p50", 1, np.array([0.1, 0.2, 0.3]), np.array([0.105, 0.204, 0.306]))
    mean, low, high = apart(made)
    half = student.ppf(0.975, 2) * 0.001 / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((0.005, 0.005 - half, 0.005 + half))


def test_blocks_that_one_target_missed_are_left_out_of_both() -> None:
    found = {
        ("first", "main", 1, "latency_p50"): {k: Figure(0.1, 40) for k in (1, 2, 3)},
        ("first", "cand", 1, "latency_p50"): {k: Figure(0.2, 40) for k in (2, 3, 4)},
        ("first", "main", 4, "latency_p50"): {k: Figure(0.4, 40) for k in (1, 2, 3)},
        ("first", "cand", 4, "latency_p50"): {k: Figure(0.4, 40) for k in (1, 3)},
    }
    one, four, mean = pairs(found, "first", "main", "cand")
    assert (one.level, len(one.baseline), one.n) == (1, 2, 160)
    assert (four.level, len(four.baseline)) == (4, 2)
    assert (mean.level, mean.baseline.tolist()) == (None, pytest.approx([0.2]))
    assert mean.candidate.tolist() == pytest.approx([math.sqrt(0.08)])


def test_figures_are_of_valid_legs_and_know_what_never_ended() -> None:
    failures: list[str | None] = [None] * 18 + ["timeout_total"] * 2
    samples = pl.concat([rows("a", [10.0] * 20), rows("b", [10.0] * 18 + [500.0] * 2, failure=failures)])
    legs = [leg("a", target="main"), leg("b", target="cand", validity="suspect")]
    found = figures(samples.lazy(), [*legs, leg("c", validity="invalid")])
    assert found["first", "main", 2, "latency_p50"] == {1: Figure(pytest.approx(0.01), 20)}
    assert found["first", "cand", 2, "latency_p95"][1].bound
    assert ("first", "main", 2, "latency_p99") not in found


def test_as_many_failures_on_both_sides_are_no_difference() -> None:
    same = Counts([(4, 200)] * 5)
    assert upper_mid_p(same, same, RULES) == pytest.approx(0.5, abs=0.01)
    low, high = share_apart(same, same, 1.0)
    assert low < 0 < high


def test_more_failures_are_a_regression_once_seen_again() -> None:
    names = ("main", "cand", "candidate")
    clean, broken = {10: Counts([(0, 200)] * 5)}, {10: Counts([(6, 200)] * 5)}
    [first] = compare_errors(names, clean, broken, None, RULES)
    assert (first.verdict, first.reason, first.effect) == ("inconclusive", CANDIDATE, None)
    assert (first.by, levels_again([first])) == (pytest.approx(0.03), [10])
    [again] = compare_errors(names, clean, broken, (clean, broken), RULES)
    assert again.verdict == "regressed"
    [gone] = compare_errors(names, clean, broken, (clean, clean), RULES)
    assert (gone.verdict, gone.reason) == ("unchanged", "not confirmed")


def test_failures_that_come_in_one_block_count_for_less() -> None:
    clean = Counts([(0, 200)] * 5)
    spread_out, at_once = Counts([(3, 200)] * 5), Counts([(15, 200), *[(0, 200)] * 4])
    assert upper_mid_p(clean, at_once, RULES) > 10 * upper_mid_p(clean, spread_out, RULES)


def test_failures_that_come_together_seldom_alarm_where_both_targets_have_them() -> None:
    rng, runs, alarms = np.random.default_rng(3), 800, 0
    for _ in range(runs):
        # A block's failures share its luck: a rate of 2.5 %, sd 3.4 %.
        sides = [{1: Counts([(int(rng.binomial(200, rng.beta(0.5, 19.5))), 200) for _ in range(5)])} for _ in range(4)]
        found = compare_errors(("main", "cand", "candidate"), sides[0], sides[1], (sides[2], sides[3]), RULES)
        alarms += found[0].verdict == "regressed"
    assert alarms / runs <= 0.003 + 3 * math.sqrt(0.003 * 0.997 / runs)
