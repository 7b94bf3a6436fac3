"""The same traffic in two logs: a proxy's and that of the gateway behind it."""

import gzip
import json

import numpy as np
import pytest

from tasks.workload.capture import capture
from tasks.workload.twice import together

SECOND = 10**9


def poisson(rate: float, seed: int, seconds: float = 200.0) -> "np.ndarray":
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    return (at * SECOND).astype(np.int64) + 1_800_000_000 * SECOND


def test_every_request_of_a_gateway_comes_a_moment_after_its_proxys():
    proxy = poisson(2.0, 1)
    gateway = proxy + np.random.default_rng(2).integers(0, 40_000_000, len(proxy))
    assert together(np.sort(gateway), proxy) == 1.0


def test_a_part_of_the_proxys_traffic_is_enough():
    proxy = poisson(2.0, 1)
    assert together(proxy[::3] + 5_000_000, proxy) == 1.0


@pytest.mark.parametrize("rate", [0.5, 5.0, 100.0])
def test_two_logs_of_different_traffic_are_not_taken_for_one(rate):
    assert together(poisson(rate, 1), poisson(rate, 2)) is None


def test_a_gateway_that_hands_on_most_of_it_a_little_later_is_found_too():
    rng = np.random.default_rng(3)
    gateway = poisson(5.0, 1)
    behind = np.sort(gateway + rng.integers(5_000_000, 90_000_000, len(gateway)))[rng.random(len(gateway)) < 0.8]
    assert together(gateway, behind) is not None


def test_stamps_of_whole_seconds_are_near_within_their_second():
    proxy = poisson(0.2, 1, 2000)
    assert together(proxy, proxy // SECOND * SECOND) is not None


def test_too_few_rows_tell_nothing():
    few = poisson(1.0, 1)[:40]
    assert together(few, few) is None


def nginx_line(ended: float) -> str:
    facts = {"msec": round(ended, 3), "method": "POST", "uri": "/v1/chat/completions", "status": 200}
    facts |= {"request_length": 574, "bytes_sent": 3873, "request_time": 0.233, "content_type": "text/event-stream"}
    return json.dumps(facts)


def test_a_capture_of_both_says_so(log, payload, tmp_path):
    at = [round(k * 1.7 + (k % 5) * 0.23, 3) for k in range(60)]
    gateway = log(*(payload(x, call=f"c{k}") for k, x in enumerate(at)), name="litellm.jsonl")
    begun = payload(0.0)["startTime"]
    proxy = tmp_path / "access.log"
    proxy.write_text("".join(nginx_line(begun + x - 0.004 + 0.233) + "\n" for x in at))
    notes = capture([gateway, proxy]).notes
    assert "100% of the requests in litellm come together with one in nginx" in notes[0]
    assert not any("counts twice" in note for note in capture([gateway]).notes)


def test_one_file_under_two_names_is_told(log, payload, tmp_path):
    one = log(*(payload(k * 1.0, call=f"c{k}") for k in range(3)), name="a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(one.read_bytes())
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b""))
    assert any(note.startswith("b.jsonl and a.jsonl are the same file") for note in capture([tmp_path]).notes)
