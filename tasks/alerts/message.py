"""One message for a night: what, how much, since when, against which nights, and the command that shows it.

It is made of sentences that others wrote and of nothing else: no header, no key, no environment can be in it unless a
sentence holds one, and what looks like a key is blanked even there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_LINE = 300
LONGEST_TITLE = 120
MOST_LINES = 8  # of a group; the rest is counted
KINDS = {
    "failed": "failed",
    "cancelled": "cancelled",
    "regressed": "regressed",
    "slo": "objective broken",
    "invalid": "invalid measurement",
    "fixed": "fixed",
    "kept": "objective kept again",
    "improved": "improved, the new normal",
}
# Key shapes: a prefix that services use, a bearer token, a JSON web token, user and password in a URL.
SECRETS = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][A-Za-z0-9_-]{8,}|\bBearer\s+\S+|\bAKIA[0-9A-Z]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9._-]+|(?<=://)[^\s/@]+@",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Message:
    title: str
    body: str


def compose(
    *,
    kinds: Sequence[str],
    plan: str,
    run_id: str,
    started_at: str,
    headline: str,
    regressed: Sequence[str],
    objectives: Sequence[str],
    since: str | None,
    against: Sequence[str],
    show: str,
    report: str | None = None,
    incidents: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> Message:
    """`kinds` from `should_alert`; `regressed`, `objectives`, `incidents` (what became of them), `kept` (objectives,
    again): one sentence each; `since`: the first night it was seen, None: this one; `against`: the runs compared with,
    oldest first; `show`: the command."""
    title = f"gatebench: {plan} {' and '.join(KINDS[kind] for kind in kinds)}"
    parts = [clean(headline)]
    parts += _group("Regressed", regressed) + _group("Objectives broken", objectives)
    for lines in (incidents, [f"Kept again: {line}" for line in kept]):
        parts += ["\n".join(clean(line) for line in lines[:MOST_LINES])] if lines else []
    facts = [f"Since: {clean(since) if since else f'tonight, {clean(started_at)}'}"]
    if against:
        facts.append(f"Against: {_nights(against)}")
    facts += [f"Run: {clean(run_id)}", f"Show: {clean(show)}"]
    if report:
        facts.append(f"Report: {clean(report)}")
    return Message(clean(title, LONGEST_TITLE), "\n\n".join([*parts, "\n".join(facts)]))


def clean(text: str, longest: int = LONGEST_LINE) -> str:
    """One line without control characters, without key shapes, not longer than a reader wants."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = SECRETS.sub("[removed]", line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _group(name: str, lines: Sequence[str]) -> list[str]:
    """Nothing for one line: the headline has said it."""
    if len(lines) < 2:
        return []
    shown = [f"- {clean(line)}" for line in lines[:MOST_LINES]]
    rest = len(lines) - len(shown)
    return ["\n".join([f"{name}:", *shown, *([f"- and {rest} more"] if rest else [])])]


def _nights(runs: Sequence[str]) -> str:
    if len(runs) == 1:
        return f"1 night, {clean(runs[0])}"
    return f"{len(runs)} nights, {clean(runs[0])} to {clean(runs[-1])}"
