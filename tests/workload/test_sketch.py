import json

import pytest

from storage.errors import UsageError
from storage.records import Arrival
from tasks.workload.builtin import builtin
from tasks.workload.fidelity import compare
from tasks.workload.profile import profile
from tasks.workload.sketch import sketch
from tasks.workload.trace import Header, from_arrivals

SECOND = 10**9


def of(workload):
    return json.loads(json.dumps(profile(workload).to_json()))


def test_a_sketch_has_the_counts_the_sizes_and_the_mix_of_its_profile():
    made = sketch(of(builtin()), 3)
    assert compare(builtin(), made).ok
    assert len(made) == 240
    assert made.header.parent == builtin().id and made.header.formats == ("synthetic",)
    assert made.frame["input_tokens"].sort().to_list() == builtin().frame["input_tokens"].sort().to_list()
    assert sketch(of(builtin()), 3).id == made.id != sketch(of(builtin()), 4).id


def test_every_second_of_a_sketch_has_as_many_requests_as_the_profile_counts():
    known = of(builtin())
    finest = min(known["rates"], key=lambda curve: curve["step_s"])
    counts = [0] * len(finest["counts"])
    for offset in sketch(known, 1).frame["offset_ns"]:
        counts[offset // SECOND] += 1
    assert counts == finest["counts"]


def test_a_profile_keeps_a_thousand_rows_in_the_mix_of_all():
    rows = [Arrival(k * SECOND, "a" if k % 5 else "b", k % 700, k % 300, None, True) for k in range(5000)]
    kept = profile(from_arrivals(rows, Header(name="w"))).rows
    assert len(kept) == 1000
    assert sum(row[0] == "b" for row in kept) == 200
    assert all(row[1] % 100 == row[2] % 100 for row in kept)  # the sizes are those of one request


def test_what_is_no_profile_is_refused():
    with pytest.raises(UsageError, match="no profile with rows"):
        sketch({"schema": "something"}, 1)
    one = of(from_arrivals([Arrival(0, "m", 1, 1, None, True)], Header(name="one")))
    with pytest.raises(UsageError, match="'one' has fewer than two requests"):
        sketch(one, 1)
