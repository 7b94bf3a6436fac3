"""Kinds of answers and a price list -> what each leg took of each model, in tokens and dollars. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from storage.records import Cost, Leg, Price, price_of


def costs(kinds: pl.DataFrame, legs: Sequence[Leg], prices: Mapping[str, Price]) -> list[Cost]:
    """One record a (leg, model that answered), in the order of the legs. `kinds`: see `tasks.stats.kinds`.

    A price is linear in the tokens, so that the sum over requests is the price of the summed tokens.
    """
    of_leg: dict[str, dict[str, Cost]] = {leg.leg_id: {} for leg in legs}
    named = {leg.leg_id: leg for leg in legs}
    for row in kinds.iter_rows(named=True):
        price = price_of(prices, row["model_served"], row["model_asked"])
        one = _cost(named[row["leg_id"]], row, price)
        before = of_leg[row["leg_id"]].get(one.model)
        of_leg[row["leg_id"]][one.model] = one if before is None else _together(before, one)
    return [cost for models in of_leg.values() for _, cost in sorted(models.items())]


def dollars(costs: Sequence[Cost]) -> float | None:
    """Their sum; None if there is none, or if tokens were taken of a model without a price."""
    known = [cost.usd for cost in costs if cost.usd is not None]
    unpriced = any(cost.usd is None and (cost.input_tokens or cost.output_tokens) for cost in costs)
    return sum(known) if known and not unpriced else None


def _cost(leg: Leg, row: dict[str, Any], price: Price | None) -> Cost:
    served = row["model_served"]
    accepted = row["n"] if row["status"] is not None and row["status"] < 300 else 0
    usd = None if price is None else price.usd(accepted, *(row[f"{k}_tokens"] for k in ("input", "cached", "output")))
    wasted = row["failure"] is not None and row["told"] > 0
    return Cost(
        leg_id=leg.leg_id,
        attempt=leg.attempt,
        target=leg.target,
        series=leg.series,
        level=leg.level,
        model=row["model_asked"] if served is None else served,
        requests=row["n"],
        unknown=row["unknown"],
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        output_tokens=row["output_tokens"],
        usd=usd,
        wasted_requests=row["told"] if wasted else 0,
        wasted_output_tokens=row["output_tokens"] if wasted else 0,
        wasted_usd=usd if wasted or usd is None else 0.0,
    )


def _together(a: Cost, b: Cost) -> Cost:
    """Dollars of one part alone stand for both only if the other took no tokens, as a refused request does."""

    def total(name: str) -> int:
        return int(getattr(a, name)) + int(getattr(b, name))

    return replace(
        a,
        requests=total("requests"),
        unknown=total("unknown"),
        input_tokens=total("input_tokens"),
        cached_tokens=total("cached_tokens"),
        output_tokens=total("output_tokens"),
        usd=dollars([a, b]),
        wasted_requests=total("wasted_requests"),
        wasted_output_tokens=total("wasted_output_tokens"),
        wasted_usd=None if a.wasted_usd is None or b.wasted_usd is None else a.wasted_usd + b.wasted_usd,
    )
