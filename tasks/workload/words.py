"""A profile as an engineer would tell it: concurrency, sizes and models first."""

from textwrap import wrap

from tasks.workload.profile import Profile, Spread

MODELS_NAMED = 6
ERRORS_NAMED = 6
COARSE_NS = 100_000_000
BARS = "▁▂▃▄▅▆▇█"
BARS_WIDE = 48


def in_words(profile: Profile) -> str:
    """Ten to twenty short lines, without a trailing newline."""
    lines = [_title(profile), _in_flight(profile), _curve(profile), _arrivals(profile), _burstiness(profile)]
    lines += [_sizes("input", profile.input_tokens), _sizes("output", profile.output_tokens), _together(profile)]
    lines += [_models(profile), _kinds(profile), _sessions(profile), _prefixes(profile)]
    lines += [_recorded(profile), _errors(profile)]
    lines.append(_coarse(profile))
    return "\n".join(line for line in lines if line)


def narrowed(words: str, columns: int) -> str:
    """The same in lines of at most `columns`; what is carried over stands below the text, not below the names."""
    inside = " " * 15
    return "\n".join(
        "\n".join(wrap(line, columns, subsequent_indent=inside, break_long_words=False, break_on_hyphens=False)) or line
        if len(line) > columns
        else line
        for line in words.split("\n")
    )


def _title(p: Profile) -> str:
    rate = f", {_rate(p.mean_rps)} a second" if p.mean_rps is not None else ""
    when = f", from {p.started_at[:19]} UTC" if p.started_at else ""
    count = f"{p.requests:,} request{'s' if p.requests != 1 else ''}"
    return f"{p.name} ({p.workload_id[:16]}): {count} in {_time(p.span_s)}{rate}{when}"


def _in_flight(p: Profile) -> str:
    if p.concurrency is None:
        return "concurrency    unknown: no durations were recorded"
    c = p.concurrency
    unknown = f" ({c.unknown:,} requests without a duration left out)" if c.unknown else ""
    return f"concurrency    {_number(c.mean)} in flight on average, {c.max:,} at most{unknown}"


def _curve(p: Profile) -> str:
    if p.concurrency is None or len(p.concurrency.curve) < 2:
        return ""
    curve = p.concurrency.curve
    group = -(-len(curve) // BARS_WIDE)
    means = [sum(part) / len(part) for part in (curve[i : i + group] for i in range(0, len(curve), group))]
    top = max(means)
    bars = "".join(BARS[min(round(value / top * 7), 7)] for value in means) if top else ""
    return f"               {bars}  {_time(p.concurrency.step_s * group)} a bar"


def _arrivals(p: Profile) -> str:
    if not p.rates:
        return ""
    peaks = ", ".join(f"{curve.peak_rps:.3g} over {curve.step_s} s" for curve in p.rates if len(curve.counts) > 1)
    idle = f"; longest idle {_time(p.gaps.longest_idle_s)}" if p.gaps else ""
    idle += f", {p.gaps.idle_share:.0%} of the time in {p.gaps.idle} pauses" if p.gaps and p.gaps.idle > 1 else ""
    return f"arrivals       peak a second: {peaks}{idle}" if peaks else ""


def _burstiness(p: Profile) -> str:
    if p.gaps is None or p.gaps.cv is None:
        return ""
    indices = {scale: value for scale, value in p.gaps.dispersion.items() if value is not None}
    spread = ", ".join(f"{value:.1f} at {scale} s" for scale, value in indices.items())
    local = f", locally {p.gaps.local_cv:.2f}" if p.gaps.local_cv is not None else ""
    worst = max((p.gaps.cv, *indices.values()))
    word = "bursty" if worst > 1.5 else "regular" if worst < 0.7 else "about Poisson"
    return f"burstiness     {word}: gap CV {p.gaps.cv:.2f}{local}" + (f"; dispersion {spread}" if spread else "")


def _sizes(what: str, s: Spread | None) -> str:
    if s is None:
        return f"{what:<6} tokens  unknown"
    quantiles = ", ".join(f"{level} {s[level]:,.0f}" for level in ("p50", "p90", "p99"))
    unknown = f" ({s.unknown:,} unknown)" if s.unknown else ""
    return f"{what:<6} tokens  {quantiles}, max {s['p100']:,.0f}, mean {s.mean:,.0f}{unknown}"


def _together(p: Profile) -> str:
    if p.spearman is None:
        return ""
    size = abs(p.spearman)
    word = "unrelated" if size < 0.1 else "weakly related" if size < 0.4 else "related"
    return f"in and out     {word} (Spearman {p.spearman:+.2f})"


def _models(p: Profile) -> str:
    named = ", ".join(f"{m.model} {m.share:.0%}" for m in p.models[:MODELS_NAMED])
    rest = len(p.models) - MODELS_NAMED
    return f"models         {named}" + (f" and {rest} more" if rest > 0 else "")


def _kinds(p: Profile) -> str:
    caps = (
        "no output caps"
        if p.caps is None
        else f"output capped in {p.caps.n / p.requests:.0%}, p50 {p.caps['p50']:,.0f}"
    )
    hits = f"; cache hits {p.cache_hit_share:.0%}" if p.cache_hit_share else ""
    return f"kind           {p.stream_share:.0%} streaming; {caps}{hits}"


def _sessions(p: Profile) -> str:
    s = p.sessions
    if s is None:
        return ""
    think = f", think time p50 {_time(s.think_s['p50'])}" if s.think_s else ""
    turns = f"{s.turns.mean:.1f} turns on average, at most {s.turns['p100']:.0f}"
    return f"sessions       {s.sessions:,} by {s.users:,} users, {turns}{think}"


def _prefixes(p: Profile) -> str:
    if p.prefixes is None:
        return ""
    r = p.prefixes
    return f"prefixes       {r.blocks_shared:.0%} of prompt blocks seen before, in {r.requests_sharing:.0%} of requests"


def _recorded(p: Profile) -> str:
    parts = [
        f"{what} p50 {_time(s['p50'])}, p95 {_time(s['p95'])}"
        for what, s in (("latency", p.latency_s), ("first token", p.ttft_s))
        if s
    ]
    return f"as recorded    {'; '.join(parts)}" if parts else ""


def _errors(p: Profile) -> str:
    if not p.errors:
        return "errors         none recorded"
    kinds = ", ".join(f"{kind} × {n}" for kind, n in list(p.errors.items())[:ERRORS_NAMED])
    rest = len(p.errors) - ERRORS_NAMED
    return f"errors         {p.error_share:.1%}: {kinds}" + (f" and {rest} more kinds" if rest > 0 else "")


def _coarse(p: Profile) -> str:
    if p.resolution_ns is None or p.resolution_ns < COARSE_NS:
        return ""
    step = _time(p.resolution_ns / 1e9)
    return f"careful        arrivals are stamped to whole {step}: replayed as they are, they come in volleys"


def _rate(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"
