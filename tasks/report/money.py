"""What a run took in tokens and dollars, in words and rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.records import Cost, Series
from tasks.charts.words import NONE, count, dollars, plain
from tasks.report.view import RunView, targets

NO_PRICE = "no price known ([prices] in the plan)"


@dataclass(frozen=True)
class Spent:
    """Sums over some costs. `usd` None: no price is known for at least one model that took tokens."""

    requests: int
    unknown: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float | None
    wasted_requests: int
    wasted_output_tokens: int
    wasted_usd: float | None

    @property
    def per_thousand(self) -> float | None:
        """Dollars per 1,000 requests."""
        return None if self.usd is None or not self.requests else self.usd / self.requests * 1000


@dataclass(frozen=True)
class SpentRow:
    """One line of a table: of a model of a target, of a load of a target, or of the whole run."""

    target: str
    what: str
    requests: str
    tokens_in: str
    tokens_out: str
    usd: str
    per_thousand: str
    wasted: str
    unknown: str


def spent(costs: Sequence[Cost]) -> Spent:
    def total(name: str) -> int:
        return sum(getattr(cost, name) for cost in costs)

    unpriced = any(cost.usd is None and (cost.input_tokens or cost.output_tokens) for cost in costs)
    priced = [cost for cost in costs if cost.usd is not None]
    known = bool(priced) and not unpriced
    return Spent(
        requests=total("requests"),
        unknown=total("unknown"),
        input_tokens=total("input_tokens"),
        cached_tokens=total("cached_tokens"),
        output_tokens=total("output_tokens"),
        usd=sum(cost.usd for cost in priced if cost.usd is not None) if known else None,
        wasted_requests=total("wasted_requests"),
        wasted_output_tokens=total("wasted_output_tokens"),
        wasted_usd=sum(cost.wasted_usd for cost in priced if cost.wasted_usd is not None) if known else None,
    )


def cost_words(view: RunView) -> str | None:
    """`$0.42 ($0.35 per 1,000 requests); 120,000 tokens in, 48,000 out; …` of the whole run, warm-up included; None
    where nothing was counted."""
    if not view.costs:
        return None
    found = spent(view.costs)
    price = NO_PRICE
    if found.usd is not None and found.per_thousand is not None:
        price = f"{dollars(found.usd)} ({dollars(found.per_thousand)} per 1,000 requests)"
    cached = f" ({found.cached_tokens:,} cached)" if found.cached_tokens else ""
    parts = [price, f"{found.input_tokens:,} tokens in{cached}, {found.output_tokens:,} out"]
    if found.wasted_requests:
        lost = "" if found.wasted_usd is None else f"{dollars(found.wasted_usd)} and "
        tokens = f"{found.wasted_output_tokens:,} tokens out"
        parts.append(f"wasted: {lost}{tokens} of {count(found.wasted_requests, 'failed request')}")
    if found.unknown:
        parts.append(f"tokens unknown for {count(found.unknown, 'request')}")
    return "; ".join(parts)


def model_rows(view: RunView) -> list[SpentRow]:
    """One row a (target, model), and one of the whole run where there are several."""
    rows = []
    for target in targets(view):
        mine = [cost for cost in view.costs if cost.target == target]
        for model in dict.fromkeys(cost.model for cost in mine):
            rows.append(_row(target, plain(model), [cost for cost in mine if cost.model == model]))
    return [*rows, _row("", "the whole run", view.costs)] if len(rows) > 1 else rows


def load_rows(view: RunView) -> list[SpentRow]:
    """One row a (target, load): a level of the sweep, the replay, a confirm."""
    rows = []
    for target in targets(view):
        mine = [cost for cost in view.costs if cost.target == target]
        places = sorted({(c.attempt != "first", c.series != Series.SWEEP, c.series, c.level) for c in mine})
        for again, _, series, level in places:
            these = [c for c in mine if (c.attempt != "first", c.series, c.level) == (again, series, level)]
            name = f"{level:,} concurrent" if series == Series.SWEEP else str(series)
            rows.append(_row(target, f"{name}, again" if again else name, these))
    return rows


def _row(target: str, what: str, costs: Sequence[Cost]) -> SpentRow:
    found = spent(costs)
    cached = f" ({found.cached_tokens:,} cached)" if found.cached_tokens else ""
    wasted = NONE
    if found.wasted_requests:
        usd = "" if found.wasted_usd is None else f"{dollars(found.wasted_usd)}, "
        wasted = f"{usd}{count(found.wasted_requests, 'request')}"
    return SpentRow(
        target,
        what,
        f"{found.requests:,}",
        f"{found.input_tokens:,}{cached}",
        f"{found.output_tokens:,}",
        NONE if found.usd is None else dollars(found.usd),
        NONE if found.per_thousand is None else dollars(found.per_thousand),
        wasted,
        f"{found.unknown:,}" if found.unknown else NONE,
    )
