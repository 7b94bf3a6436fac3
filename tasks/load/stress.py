"""Load on top of a replay: Poisson arrivals laid over its schedule, or users that send one request after the other.

Its requests are labelled as stress, whatever measures them. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.errors import UsageError
from tasks.load import curve
from tasks.load.spec import StressSpec
from tasks.load.track import Track


@dataclass(slots=True)
class Users:
    """So many requests at a time between two instants (ns from t0), made from arrivals in this order, again and again.
    `seq` numbers them on, `step` by `step`."""

    count: int
    from_ns: int
    until_ns: int
    order: Sequence[int]
    seq: int
    step: int

    def next(self) -> tuple[int, int]:
        """(number, arrival) of the next request."""
        seq = self.seq
        self.seq += self.step
        return seq, self.order[seq // self.step % len(self.order)]


def span(spec: StressSpec, last_ns: int) -> tuple[int, int]:
    """From and until, in ns; never behind the last request of the replay. Raises UsageError where nothing is left."""
    begin = int(spec.from_s * 1e9)
    end = last_ns if spec.until_s is None else min(last_ns, int(spec.until_s * 1e9))
    if end <= begin:
        raise UsageError(f"the stress begins after {spec.from_s:g} s, and the replay has ended by then")
    return begin, end


def users_of(
    spec: StressSpec, last_ns: int, order: Sequence[int], first_seq: int, stripe: tuple[int, int]
) -> Users | None:
    """The users of one of several workers, its number and how many there are in `stripe`; None where it has none."""
    shard, shards = stripe
    count = len(range(shard, spec.users, shards))
    if not count:
        return None
    begin, end = span(spec, last_ns)
    return Users(count, begin, end, order, first_seq + shard, shards)


def lay_over(
    played: Track, spec: StressSpec, order: Sequence[int], rng: np.random.Generator
) -> tuple[Track, NDArray[np.bool_]]:
    """The replay with Poisson arrivals on top, rows drawn in `order`; and which of its requests are stress."""
    rate = spec.rate_rps
    if rate is None or not len(played):
        return played, np.zeros(len(played), dtype=bool)
    begin, end = span(spec, int(played.at_ns[-1]))
    at = begin + curve.starts([((end - begin) / 1e9, rate, rate)], 1.0, rng)
    rows = np.resize(np.asarray(order, dtype=np.int64), len(at))
    own = np.concatenate((np.zeros(len(played), dtype=bool), np.ones(len(at), dtype=bool)))
    whole = Track(
        np.concatenate((played.at_ns, at)),
        np.concatenate((played.arrival, rows)),
        np.concatenate((played.unit, int(played.unit.max()) + 1 + np.arange(len(at)))),
    )
    by_time = np.argsort(whole.at_ns, kind="stable")
    return Track(whole.at_ns[by_time], whole.arrival[by_time], whole.unit[by_time]), own[by_time]
