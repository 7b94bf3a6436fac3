"""The results as Markdown tables."""

from collections.abc import Sequence
from typing import Any

from tests.e2e.trials import Able, Added, Faulty, Replayed

STREAM = {True: "streams", False: "plain"}


def whole(results: dict[str, Any]) -> str:
    parts = [_head(results)]
    if results["overhead"]:
        parts.append("### What a gateway adds\n\n" + overhead(results["overhead"]))
    if results["capacity"]:
        parts.append("### What a gateway can take\n\n" + capacity(results["capacity"]))
    if results["logs"]:
        parts.append("### Its own log, replayed\n\n" + logs(results["logs"]))
    if results["faults"]:
        parts.append("### What becomes of an upstream's faults\n\n" + faults(results["faults"]))
    return "\n\n".join(parts) + "\n"


def _head(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    loads = "; ".join(f"{one['what']} {one['load']:.1f}" for one in results["loads"])
    return f"{results['date']}, {results['machine']}.\n{versions}.\nLoad average as each trial began: {loads}."


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def overhead(found: Sequence[Added]) -> str:
    """A row a gateway, a column a place: `+13.1 ms [12.4, 13.9]`."""
    places = list(dict.fromkeys((a.upstream, a.stream, a.level, a.metric) for a in found))
    names = list(dict.fromkeys(a.gateway for a in found))
    heads = [f"{_what(metric)}, {STREAM[stream]}, {level} at once, {up}" for up, stream, level, metric in places]
    by = {(a.gateway, a.upstream, a.stream, a.level, a.metric): a for a in found}
    first = ["straight to it", *(_ms(next(a.direct_ms for a in found if _place(a) == place)) for place in places)]
    rows = [[name, *(_added(by.get((name, *place))) for place in places)] for name in names]
    turned = list(zip(*[["", *heads], first, *rows], strict=True))
    return grid(turned[0], turned[1:])


def _place(a: Added) -> tuple[str, bool, int, str]:
    return a.upstream, a.stream, a.level, a.metric


def _what(metric: str) -> str:
    return {"latency_p50": "p50", "ttft_p50": "TTFT p50"}[metric]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{_digits(value)} ms"


def _digits(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _added(one: Added | None) -> str:
    if one is None or one.by_ms is None:
        return "–"
    sign = "" if _digits(abs(one.by_ms)) == "0.00" else "+" if one.by_ms > 0 else "−"
    head = f"{sign}{_digits(abs(one.by_ms))} ms"
    if one.lower_ms is None or one.upper_ms is None:
        return head
    return f"{head} [{_digits(one.lower_ms)}, {_digits(one.upper_ms)}]".replace("[-", "[−").replace(", -", ", −")


def capacity(found: Sequence[Able]) -> str:
    names = list(dict.fromkeys(a.gateway for a in found))
    by = {(a.gateway, a.stream): a for a in found}
    rows = [[name, *(_able(by.get((name, stream))) for stream in (False, True))] for name in names]
    return grid(["", "plain, requests a second", "streams, requests a second"], rows)


def _able(one: Able | None) -> str:
    if one is None or one.rps is None:
        return "–"
    failed = f", {one.failed} failed" if one.failed else ""
    doubt = "" if one.validity == "valid" else f", {one.validity}"
    interval = "" if one.lower is None or one.upper is None else f" [{one.lower:,.0f}, {one.upper:,.0f}]"
    return f"{one.rps:,.0f}{interval} (at {one.concurrency} at once{failed}{doubt})"


def logs(found: Sequence[Replayed]) -> str:
    heads = ["", "measured requests sent", "rows kept of its log", "token counts", "replayed, ok", "against the log"]
    return grid(heads, [_log(one) for one in found])


def _log(one: Replayed) -> list[str]:
    if one.error:
        return [one.gateway, str(one.sent), "–", "–", "–", one.error]
    return [one.gateway, str(one.sent), str(one.kept), one.tokens, f"{one.replayed}, {one.ok}", one.as_recorded]


def faults(found: Sequence[Faulty]) -> str:
    """A row a fault, a column a target: the kinds that its client saw, with their share of the requests."""
    targets = list(dict.fromkeys(f.target for f in found))
    by = {(f.fault, f.target): f for f in found}
    rows = [
        [fault, *(_kinds(by.get((fault, target))) for target in targets)]
        for fault in dict.fromkeys(f.fault for f in found)
    ]
    return grid(["half of the upstream's answers", *targets], rows)


def _kinds(one: Faulty | None) -> str:
    if one is None or not one.requests:
        return "–"
    kinds = sorted(one.kinds.items(), key=lambda item: -item[1])
    return "; ".join(f"`{kind}` {100 * n / one.requests:.0f} %" for kind, n in kinds) or "all ok"
