"""What the gateway did with the requests, in plain words, and when that makes a comparison unfair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.records import Attempt, GatewayFacts, Series
from tasks.charts.words import NONE, count, plain, share
from tasks.report.view import RunView, targets

UNFAIR = 0.01  # share of the answers from which a cache, a fallback or another model is said in the headline
MOST_PAIRS = 12
SHOWN = 4  # kinds in one cell


@dataclass(frozen=True)
class GatewayRow:
    """One (target, load): shares of requests as words, `–` where no answer said anything of it."""

    target: str
    place: str
    requests: int
    cells: dict[str, str]  # by column: limited, retry_after, fallbacks, retried, cache, other_model, finish, failures


@dataclass(frozen=True)
class PairRow:
    """Model asked -> model that answered; `same`: only the name is written differently."""

    target: str
    asked: str
    served: str
    answers: int
    share: float


COLUMNS = {
    "limited": "429",
    "retry_after": "Retry-After",
    "fallbacks": "fallback",
    "retried": "retried",
    "cache": "cache",
    "other_model": "other model",
    "finish": "finish reasons",
    "failures": "failures and statuses",
}


def of_target(view: RunView, target: str) -> list[GatewayFacts]:
    """The first attempt's facts of one target, the sweep's levels rising, then the others."""
    mine = [f for f in view.gateway if f.target == target and f.attempt == Attempt.FIRST]
    return sorted(mine, key=lambda f: (f.series != Series.SWEEP, f.series, f.level))


def gateway_rows(view: RunView, target: str) -> list[GatewayRow]:
    """One row a load of one target."""
    return [_row(facts) for facts in of_target(view, target)]


def present_columns(rows: Sequence[GatewayRow]) -> list[str]:
    """The columns of which at least one row says something."""
    return [name for name in COLUMNS if any(row.cells[name] != NONE for row in rows)]


def pair_rows(view: RunView) -> list[PairRow]:
    """Who answered for whom, of models whose names differ, the most frequent first; at most MOST_PAIRS a target."""
    rows = []
    for target in targets(view):
        pairs: dict[tuple[str, str], int] = {}
        for facts in of_target(view, target):
            for asked, served, n in facts.models:
                pairs[asked, served] = pairs.get((asked, served), 0) + n
        total = sum(pairs.values())
        differing = sorted(((n, pair) for pair, n in pairs.items() if pair[0] != pair[1]), reverse=True)
        rows += [PairRow(target, plain(a), plain(s), n, n / total) for n, (a, s) in differing[:MOST_PAIRS]]
    return rows


def gateway_lines(view: RunView) -> list[str]:
    """What a gateway did that moves its numbers, one line a target, over all its loads."""
    lines = []
    for target in targets(view):
        facts = of_target(view, target)
        said = [*_limited(facts), *_own_doing(facts, 0.0), *_models(facts), *_counted(facts)]
        lines += _line(view, f"{target}: ", said)
    return lines


def unfair_lines(view: RunView) -> list[str]:
    """What makes the numbers those of something else than the model behind the gateway, one short line a target."""
    lines = []
    for target in targets(view):
        facts = of_target(view, target)
        said = _own_doing(facts, UNFAIR)
        if _mixed(facts) and sum(f.other_model for f in facts) > sum(f.fallbacks for f in facts):
            said += _models(facts)
        lines += _line(view, f"at {target} ", said)
    return lines + _unlike(view)


def _line(view: RunView, name: str, said: Sequence[str]) -> list[str]:
    return [(name if len(targets(view)) > 1 else "") + "; ".join(said)] if said else []


def _own_doing(facts: Sequence[GatewayFacts], least: float) -> list[str]:
    ok = sum(f.ok for f in facts)
    said = []
    for name, words in (("cache_hits", "came from the gateway's cache"), ("fallbacks", "came after a fallback")):
        n = sum(getattr(f, name) for f in facts)
        if n and n >= least * ok:
            said.append(f"{share(n / ok)} of answers {words}")
    n = sum(f.retried for f in facts)
    if n and not least:
        said.append(f"{share(n / ok)} of answers came after the gateway had tried again")
    return said


def _limited(facts: Sequence[GatewayFacts]) -> list[str]:
    n, total = sum(f.rate_limited for f in facts), sum(f.requests for f in facts)
    if not n:
        return []
    waits = [f for f in facts if f.retry_after_max_s is not None]
    text = f"{share(n / total)} of requests were refused with 429"
    if not waits:
        return [f"{text} (without a Retry-After)"]
    longest = max(f.retry_after_max_s for f in waits if f.retry_after_max_s is not None)
    return [f"{text} (Retry-After up to {longest:g} s)"]


def _counted(facts: Sequence[GatewayFacts]) -> list[str]:
    n, ok = sum(f.counted for f in facts), sum(f.ok for f in facts)
    return [f"{share(n / ok)} of answers told no usage: their chunks are counted as output tokens"] if n else []


def _models(facts: Sequence[GatewayFacts]) -> list[str]:
    n, known = sum(f.other_model for f in facts), sum(f.models_known for f in facts)
    if not n:
        return []
    pairs: dict[tuple[str, str], int] = {}
    for f in facts:
        for asked, served, count_ in f.models:
            if asked != served:
                pairs[asked, served] = pairs.get((asked, served), 0) + count_
    (asked, served), _ = max(pairs.items(), key=lambda item: item[1])
    mostly = "" if len(pairs) == 1 else "mostly "
    return [
        f"{share(n / known)} of answers came from another model than asked ({mostly}{plain(served)} for {plain(asked)})"
    ]


def _served(facts: Sequence[GatewayFacts]) -> dict[str, dict[str, int]]:
    """Model asked -> model served -> answers."""
    found: dict[str, dict[str, int]] = {}
    for f in facts:
        for asked, served, n in f.models:
            by = found.setdefault(asked, {})
            by[served] = by.get(served, 0) + n
    return found


def _mixed(facts: Sequence[GatewayFacts]) -> bool:
    """Several models answered for one: an alias that always means the same model is no reason to warn."""
    if not any(f.other_model for f in facts):
        return False
    shares = [sorted(by.values(), reverse=True) for by in _served(facts).values()]
    return any(sum(counts[1:]) >= UNFAIR * sum(counts) for counts in shares)


def _unlike(view: RunView) -> list[str]:
    """Targets of which most answers to one model asked came from different models."""
    most: dict[str, dict[str, str]] = {}
    for target in targets(view):
        for asked, by in _served(of_target(view, target)).items():
            most.setdefault(asked, {})[target] = max(by, key=lambda served: by[served])
    lines = []
    for asked, by_target in most.items():
        if len(set(by_target.values())) > 1:
            told = ", ".join(f"{target} by {plain(served)}" for target, served in by_target.items())
            lines.append(f"{plain(asked)} is answered by different models: {told}")
    return lines


def _row(f: GatewayFacts) -> GatewayRow:
    cells = {
        "limited": _part(f.rate_limited, f.requests),
        "retry_after": _waits(f),
        "fallbacks": _part(f.fallbacks, f.ok) if f.fallbacks_known else NONE,
        "retried": _part(f.retried, f.ok) if f.retried_known else NONE,
        "cache": _part(f.cache_hits, f.ok) if f.cache_known else NONE,
        "other_model": _part(f.other_model, f.models_known) if f.models_known else NONE,
        "finish": _kinds(f.finish_reasons, f.ok),
        "failures": _failures(f),
    }
    place = f"{f.level:,} concurrent" if f.series == Series.SWEEP else str(f.series)
    return GatewayRow(f.target, place, f.requests, cells)


def _part(n: int, of: int) -> str:
    return share(n / of) if of else NONE


def _waits(f: GatewayFacts) -> str:
    if f.retry_after_p50_s is None or f.retry_after_max_s is None:
        return NONE
    if f.retry_after_p50_s == f.retry_after_max_s:
        return f"{f.retry_after_max_s:g} s"
    return f"{f.retry_after_p50_s:g} s, up to {f.retry_after_max_s:g} s"


def _kinds(counts: Mapping[str, int], of: int) -> str:
    if not counts or not of:
        return NONE
    told = [f"{plain(name)} {share(n / of)}" for name, n in list(counts.items())[:SHOWN]]
    rest = len(counts) - SHOWN
    return ", ".join([*told, f"{rest} more"] if rest > 0 else told)


def _failures(f: GatewayFacts) -> str:
    """Failures by kind, then the statuses that are not 2xx."""
    if not f.failures:
        return NONE
    refused = [f"{n:,} with status {status}" for status, n in f.statuses.items() if not status.startswith("2")]
    kinds = [f"{n:,} {kind}" for kind, n in f.failures.items()]
    rest = len(kinds) - SHOWN
    text = ", ".join([*kinds[:SHOWN], count(rest, "more kind")] if rest > 0 else kinds)
    return f"{text} ({', '.join(refused[:SHOWN])})" if refused else text
