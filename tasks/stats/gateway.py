"""Kinds of answers -> what the gateway did with the requests, by its own words: refusals, retries, fallbacks, its
cache, models. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from storage.records import GatewayFacts, Leg, Phase

# What a provider appends to a model's name without its being another model: a date, a build number, `latest`.
_EDITION = re.compile(r"[-@:](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)$")


def gateway_facts(kinds: pl.DataFrame, legs: Sequence[Leg]) -> list[GatewayFacts]:
    """One record a (attempt, target, series, level), over the measured requests of all its legs."""
    named = {leg.leg_id: (leg.attempt, leg.target, leg.series, leg.level) for leg in legs}
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = {}
    for row in kinds.filter(pl.col("phase") == Phase.MEASURED).iter_rows(named=True):
        groups.setdefault(named[row["leg_id"]], []).append(row)
    return [_facts(place, rows) for place, rows in groups.items()]


def same_model(asked: str, served: str) -> bool:
    """`gpt-4o`, `openai/gpt-4o` and `gpt-4o-2024-08-06` are one model; two different editions are two."""
    a, b = (name.rsplit("/", 1)[-1].casefold() for name in (asked, served))
    return a == b or _EDITION.sub("", a) == b or a == _EDITION.sub("", b)


def _facts(place: tuple[str, str, str, int], rows: list[dict[str, Any]]) -> GatewayFacts:
    ok = [row for row in rows if row["failure"] is None]
    waits = [(row["retry_after_s"], row["n"]) for row in rows if row["retry_after_s"] is not None]
    pairs = Counter[tuple[str, str]]()
    for row in ok:
        if row["model_served"] is not None:
            pairs[row["model_asked"], row["model_served"]] += row["n"]
    limited = [row for row in rows if row["status"] == 429]
    return GatewayFacts(
        *place,
        requests=_n(rows),
        ok=_n(ok),
        streamed=_n([row for row in rows if row["stream"]]),
        statuses=_counts(rows, "status"),
        failures=_counts(rows, "failure"),
        finish_reasons=_counts(ok, "finish_reason"),
        rate_limited=_n(limited),
        retry_after_known=sum(n for _, n in waits),
        retry_after_p50_s=_middle(waits),
        retry_after_max_s=max((value for value, _ in waits), default=None),
        fallbacks=_n([row for row in ok if row["fallbacks"]]),
        fallbacks_known=_known(ok, "fallbacks"),
        retried=_n([row for row in ok if row["attempts"]]),
        retried_known=_known(ok, "attempts"),
        cache_hits=_n([row for row in ok if row["cache_hit"]]),
        cache_known=_known(ok, "cache_hit"),
        other_model=sum(n for pair, n in pairs.items() if not same_model(*pair)),
        models_known=sum(pairs.values()),
        models=[(asked, served, n) for (asked, served), n in pairs.most_common()],
        counted=sum(row["counted"] for row in ok),
    )


def _n(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["n"] for row in rows)


def _known(rows: Sequence[dict[str, Any]], column: str) -> int:
    return _n([row for row in rows if row[column] is not None])


def _counts(rows: Sequence[dict[str, Any]], column: str) -> dict[str, int]:
    """The most frequent first, ties by name; rows that have nothing there are left out."""
    found = Counter[str]()
    for row in rows:
        if row[column] is not None:
            found[str(row[column])] += row["n"]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _middle(weighted: Sequence[tuple[float, int]]) -> float | None:
    """The lower median of values that stand n times each."""
    half, seen = sum(n for _, n in weighted) / 2, 0
    for value, n in sorted(weighted):
        seen += n
        if seen >= half:
            return value
    return None
