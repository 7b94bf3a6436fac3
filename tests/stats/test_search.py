"""Which rate to try next, and what the rates tried say in the end."""

import numpy as np
import pytest

from storage.records import RateProbe
from tasks.stats.search import Search, answer, next_rate, split
from tests.fakes.probes import searched, tried
from tests.fakes.queue import Server

FROM_100 = Search(start_rps=100.0, max_rps=1000.0)


def rates(limits: dict[float, str], search: Search = FROM_100, most: int = 40) -> list[float]:
    """What is tried against a target that fails by the given limits from the given rates on, in order."""
    found: list[RateProbe] = []
    while (rate := next_rate(found, search)) is not None and len(found) < most:
        lost = [limit for at, limit in sorted(limits.items()) if rate >= at]
        found.append(tried(len(found) + 1, rate, lost[0] if lost else "none"))
    return [p.rate_rps for p in found]


def test_it_begins_where_it_is_told_to_and_never_above_the_highest_rate_allowed() -> None:
    assert next_rate([], FROM_100) == 100
    assert next_rate([], Search(100.0, 80.0)) == 80


def test_it_goes_up_in_growing_steps_while_every_rate_is_kept_up_with() -> None:
    assert rates({})[:6] == pytest.approx([100, 110, 137.5, 206.25, 412.5, 825])


def test_at_the_highest_rate_allowed_it_stops_after_a_second_look() -> None:
    tries = rates({})
    assert tries[-2:] == [1000, 1000]
    found = answer("gw", [tried(k, rate) for k, rate in enumerate(tries)], FROM_100)
    assert found.rate_rps is not None
    assert (found.rate_rps.point, found.rate_rps.upper, found.rate_rps.at_least) == (1000, None, True)
    assert (found.reached, found.limited_by, found.confirmed) == (False, "none", True)
    assert found.why == "it keeps up with the highest rate that was to be tried"


def test_between_kept_up_and_too_much_it_halves_until_they_are_close_and_looks_twice() -> None:
    tries = rates({105: "slo"})
    assert tries[:3] == pytest.approx([100, 110, (100 * 110) ** 0.5])
    assert tries.count(tries[-1]) == 2
    assert tries[-1] < 105 <= tries[-1] * 1.02
    assert len(tries) <= 7


def test_where_nothing_is_kept_up_with_it_goes_down() -> None:
    assert rates({30: "errors"})[:3] == [100, 50, 25]


def test_below_a_thousandth_of_the_first_rate_it_gives_up() -> None:
    tries = rates({0: "errors"}, Search(100.0, 1000.0, most=40))
    assert 0.09 <= min(tries) < 0.2
    found = answer("gw", [tried(k, rate, "errors") for k, rate in enumerate(tries)], FROM_100)
    assert (found.rate_rps, found.limited_by, found.reached) == (None, "errors", False)


def test_what_an_overloaded_target_finished_says_where_to_go_on() -> None:
    over = tried(1, 100.0, "capacity", achieved_rps=40.0)
    assert next_rate([over], FROM_100) == pytest.approx(38)
    wide = [tried(1, 10.0), tried(2, 100.0, "capacity", achieved_rps=40.0)]
    assert next_rate(wide, FROM_100) == pytest.approx(39.6)


def test_one_failure_that_a_higher_rate_contradicts_is_looked_at_again() -> None:
    hiccup = [tried(1, 100.0, "capacity", achieved_rps=90.0), tried(2, 110.0)]
    assert next_rate(hiccup, FROM_100) == 110
    again = [*hiccup, tried(3, 110.0)]
    assert split(again).low == again[2] or split(again).low == again[1]
    assert split(again).high is None


def test_a_rate_that_holds_once_and_not_again_is_settled_by_a_third_try() -> None:
    torn = [tried(1, 100.0), tried(2, 110.0), tried(3, 112.0, "capacity"), tried(4, 110.0, "capacity")]
    assert next_rate(torn, FROM_100) == 110
    lost = split([*torn, tried(5, 110.0, "capacity")])
    assert lost.low is not None and lost.high is not None
    assert (lost.low.rate_rps, lost.high.rate_rps) == (100, 110)
    held = split([*torn, tried(5, 110.0)])
    assert held.low is not None and held.high is not None
    assert (held.low.rate_rps, held.high.rate_rps) == (110, 112)


def test_where_we_were_the_limit_the_same_rate_is_tried_twice_more_and_then_no_higher_one() -> None:
    kept = [tried(1, 100.0), tried(2, 100.0)]
    spoilt = [*kept, tried(3, 110.0, "generator"), tried(4, 110.0, "generator")]
    assert [next_rate(spoilt[:n], FROM_100) for n in (3, 4)] == [110, 110]
    spoilt.append(tried(5, 110.0, "generator"))
    assert next_rate(spoilt, FROM_100) is None
    found = answer("gw", spoilt, FROM_100)
    assert found.rate_rps is not None
    assert (found.rate_rps.point, found.reached, found.limited_by) == (100, False, "generator")


def test_where_we_are_the_limit_from_the_first_rate_on_lower_ones_are_tried() -> None:
    ours = [tried(k, 100.0, "generator") for k in (1, 2, 3)]
    assert next_rate(ours, FROM_100) == 50
    kept = [*ours, tried(4, 50.0)]
    assert next_rate(kept, FROM_100) == 50
    assert next_rate([*kept, tried(5, 50.0)], FROM_100) is None
    never = [tried(k, 100.0 / 2 ** (k // 3), "generator") for k in range(9)]
    assert next_rate(never, FROM_100) is None
    found = answer("gw", never, FROM_100)
    assert (found.rate_rps, found.limited_by) == (None, "generator")


def test_a_trial_spoilt_by_us_that_goes_well_the_second_time_changes_nothing() -> None:
    spoilt = [tried(1, 100.0, "generator"), tried(2, 100.0), tried(3, 110.0, "slo"), tried(4, 109.0)]
    assert answer("gw", spoilt, FROM_100).limited_by == "slo"


def test_a_budget_ends_the_search_and_is_told() -> None:
    spent = [tried(1, 100.0), tried(2, 110.0, "budget")]
    assert next_rate(spent, FROM_100) is None
    found = answer("gw", spent, FROM_100)
    assert (found.reached, found.limited_by) == (False, "budget")


def test_after_the_most_trials_it_ends_with_what_it_knows() -> None:
    few = Search(100.0, 1000.0, most=3)
    tries = rates({105: "slo"}, few)
    assert len(tries) == 3
    found = answer("gw", [tried(1, 100.0), tried(2, 110.0, "slo"), tried(3, 104.9, "none")], few)
    assert found.rate_rps is not None
    assert (found.rate_rps.point, found.rate_rps.upper) == (104.9, 110)
    assert (found.confirmed, found.limited_by, found.reached) == (False, "slo", True)


def test_without_any_trial_there_is_no_answer() -> None:
    found = answer("gw", [], FROM_100)
    assert (found.rate_rps, found.limited_by, found.why) == (None, "none", "no rate was tried")


SERVERS = [Server(32, 0.04), Server(8, 0.05, 0.5), Server(16, 0.05, 1.0), Server(4, 0.1, 0.3)]


@pytest.mark.parametrize("server", SERVERS, ids=lambda s: f"{s.slots} slots, cv {s.cv:g}")
def test_a_queue_s_capacity_is_found_within_five_per_cent_in_nine_of_ten_seeds(server: Server) -> None:
    off, covered = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = server.capacity_rps
        search = Search(start_rps=truth * rng.uniform(0.9, 1.05), max_rps=1.2 * truth)
        found = answer("gw", searched(rng, server, search), search)
        e = found.rate_rps
        assert e is not None and e.lower is not None and e.upper is not None
        off.append(abs(e.point / truth - 1))
        covered.append(e.lower <= truth <= e.upper)
    assert np.mean(np.array(off) <= 0.05) >= 0.9
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("seed", range(3))
def test_it_is_found_from_far_below_and_under_poisson_arrivals_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    server, search = Server(32, 0.04), Search(start_rps=20.0, max_rps=5000.0, most=24)
    tries = searched(rng, server, search, poisson=True)
    e = answer("gw", tries, search).rate_rps
    assert e is not None and e.point == pytest.approx(800, rel=0.05)
    assert len(tries) <= 20
