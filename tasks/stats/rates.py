"""Block rows -> rates a second: throughput, goodput and output tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.stats.metrics import NS


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one block, each a second; tokens is None where no answer said how many it had."""

    throughput: float
    goodput: float
    tokens: float | None


def closed_rates(blocks: Sequence[dict[str, Any]], level: int) -> list[Rates]:
    """Little's law a block, with the time that our users take between two requests (the interactive response time law,
    P. J. Denning and J. P. Buzen, The Operational Analysis of Queueing Network Models, ACM Computing Surveys 10, 1978):
    level ÷ mean cycle is what is finished, failed or not, so the mean is over every measured request; of what is
    finished, the ok share counts."""
    return [_share_out(level / block["cycle"], block) for block in blocks if block["cycle"] > 0]


def open_rates(blocks: Sequence[dict[str, Any]]) -> list[Rates]:
    """One a leg: its pieces differ by the traffic's own bursts, which is no measure of error."""
    legs = dict.fromkeys(block["leg_id"] for block in blocks)
    rates = (_of_open_leg([block for block in blocks if block["leg_id"] == leg]) for leg in legs)
    return [rate for rate in rates if rate is not None]


def _of_open_leg(blocks: Sequence[dict[str, Any]]) -> Rates | None:
    """The offered rate (requests ÷ the time over which they were due) times how well the target kept up: the time from
    the middle of the first piece to the middle of the last, by starts ÷ by ends, at most 1.

    A target that keeps up has 1; one that does not ends requests at the rate it can sustain. Neither ramp nor drain is
    in it. None where all were due at once.
    """
    whole = {name: sum(block[name] for block in blocks) for name in ("n", "ok", "good", "tokens", "with_tokens")}
    span = max(block["to_ns"] for block in blocks) - min(block["from_ns"] for block in blocks)
    if span <= 0:
        return None
    starts = blocks[-1]["mean_start_ns"] - blocks[0]["mean_start_ns"]
    ends = blocks[-1]["mean_end_ns"] - blocks[0]["mean_end_ns"]
    kept_up = min(1.0, starts / ends) if starts > 0 and ends > 0 else 1.0
    return _share_out((whole["n"] - 1) / (span * NS) * kept_up, whole)


def _share_out(rate: float, block: dict[str, Any]) -> Rates:
    throughput = rate * block["ok"] / block["n"]
    tokens = throughput * block["tokens"] / block["with_tokens"] if block["with_tokens"] else None
    return Rates(throughput, rate * block["good"] / block["n"], tokens)
