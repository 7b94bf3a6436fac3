"""The workload that is there without a log: for a first try, and for plans that name none."""

import math
from random import Random
from statistics import NormalDist

from storage.records import Arrival
from tasks.workload.trace import Header, Workload, from_arrivals

ARRIVALS = 240
SPAN_S = 60
SEED = 20260101
INPUT = (120, 0.8, 16, 800)  # median, sigma of the logarithm, least, most
OUTPUT = (24, 0.6, 4, 64)


def builtin() -> Workload:
    """240 streaming requests to the model "default" over 60 s, Poisson given their count. Prompts are lognormal around
    120 tokens (16 to 800), answers around 24 (4 to 64), and each request's cap is its answer's length.

    It is the same on every machine: only `Random.random` is drawn from, whose sequence Python keeps.
    """
    rng = Random(SEED)
    starts = sorted(round(rng.random() * SPAN_S * 1e6) * 1000 for _ in range(ARRIVALS))
    arrivals = [_arrival(start - starts[0], _size(rng, INPUT), _size(rng, OUTPUT)) for start in starts]
    header = Header(name="builtin", formats=("builtin",), arrival_basis=f"drawn, seed {SEED}", resolution_ns=1000)
    return from_arrivals(arrivals, header)


def _arrival(offset_ns: int, input_tokens: int, output_tokens: int) -> Arrival:
    return Arrival(
        offset_ns=offset_ns,
        model="default",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        max_output_tokens=output_tokens,
        stream=True,
    )


def _size(rng: Random, shape: tuple[int, float, int, int]) -> int:
    median, sigma, least, most = shape
    deviate = NormalDist().inv_cdf(max(rng.random(), 1e-12))
    return min(max(round(median * math.exp(sigma * deviate)), least), most)
