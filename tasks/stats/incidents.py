"""The life of an incident: what a judged night does to those that are open, and what is worth telling. Pure.

open -> acknowledged -> accepted (somebody says it is the new normal: a new segment) | fixed (nights inside the interval
again). It is told when it opens, and again only when a metric joins, when an effect grows, or when it is fixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from storage.records import Change, Incident, Symptom, Verdict, Word
from tasks.stats.drift import is_drift

GREW = 1.5  # an effect so many times what was told is told again
FIXED_AFTER = 3  # nights inside the interval
IMPROVED_AFTER = 3  # nights running
GATEBENCH = "gatebench"


@dataclass(frozen=True, slots=True)
class Night:
    """What was judged of one segment on a whole night. `valid` False: its generator was the limit, so that it can open
    an incident but never close one."""

    run_id: str
    started_at: str
    segment_id: str
    target: str
    series: str
    verdicts: Sequence[Verdict]
    against: str  # the nights it was compared with, in words
    valid: bool = True
    onsets: dict[str, str] = field(default_factory=dict)  # metric -> started_at of the night its drift began


Words = Callable[[Verdict], str]


def family(metric: str) -> str:
    """latency, ttft, throughput or errors."""
    return metric.partition("_")[0]


def step(
    known: Sequence[Incident], night: Night, *, first_id: int, now: str, words: Words
) -> tuple[list[Incident], list[Change]]:
    """Incidents as they stand after the night, those that it touched only, and the changes to write down.

    `known`: the incidents of the segment that are open or acknowledged, and those that this very run closed: a run that
    is counted already changes nothing. `first_id`: the number of a new incident. `words`: a verdict in words.
    """
    touched: list[Incident] = []
    changes: list[Change] = []
    count = 0  # of new ones
    names = dict.fromkeys([family(v.metric) for v in night.verdicts] + [one.family for one in known])
    for name in names:
        mine = [one for one in known if one.family == name]
        if any(night.run_id in (one.last_run, one.opened_run) for one in mine):
            continue
        worse = [v for v in night.verdicts if family(v.metric) == name and v.verdict == Word.REGRESSED]
        if mine:
            after, change = _go_on(mine[0], worse, night, now, words)
            touched += [after] if after != mine[0] else []
            changes += [change] if change else []
        elif worse:
            new = _open(str(first_id + count), name, worse, night)
            count += 1
            touched.append(new)
            changes.append(_change(new, night, "opened", worse, now, words))
    return touched, changes


def new_normal(nights: Sequence[Sequence[Verdict]]) -> str | None:
    """The family that was improved on the last IMPROVED_AFTER nights, each of which was worse in nothing; else None.

    `nights`: the verdicts of one segment a night, tonight last. Such a level is the new normal: a later slowdown to
    the old one would else pass as unchanged.
    """
    last = nights[-IMPROVED_AFTER:]
    if len(last) < IMPROVED_AFTER or any(v.verdict == Word.REGRESSED for night in last for v in night):
        return None
    better = [{family(v.metric) for v in night if v.verdict == Word.IMPROVED} for night in last]
    return min(set.intersection(*better), default=None)


def _open(incident_id: str, name: str, worse: Sequence[Verdict], night: Night) -> Incident:
    since = [night.onsets[v.metric] for v in worse if is_drift(v) and v.metric in night.onsets]
    return Incident(
        incident_id=incident_id,
        segment_id=night.segment_id,
        target=night.target,
        series=night.series,
        family=name,
        status="open",
        opened_run=night.run_id,
        opened_at=night.started_at,
        since=min(since, default=night.started_at),
        against=night.against,
        symptoms=_symptoms(worse),
        inside=0,
        last_run=night.run_id,
        regressed_run=night.run_id,
    )


def _go_on(
    incident: Incident, worse: Sequence[Verdict], night: Night, now: str, words: Words
) -> tuple[Incident, Change | None]:
    if worse:
        return _seen_again(incident, worse, night, now, words)
    if not (night.valid and _inside(incident, night)):
        return replace(incident, last_run=night.run_id), None
    after = replace(incident, inside=incident.inside + 1, last_run=night.run_id)
    if after.inside < FIXED_AFTER:
        return after, None
    closed = replace(after, status="fixed", closed_at=night.started_at)
    at = [v for v in night.verdicts if any(_same(v, s) for s in incident.symptoms)]
    return closed, _change(closed, night, "fixed", at, now, words, f"{FIXED_AFTER} nights inside the interval")


def _seen_again(
    incident: Incident, worse: Sequence[Verdict], night: Night, now: str, words: Words
) -> tuple[Incident, Change | None]:
    """A metric that was not in it joins; one that was may have grown, like compared with like."""
    known = {s.metric: s for s in incident.symptoms}
    joined = [s for s in _symptoms(worse) if s.metric not in known]
    grown = [v for v in worse if v.metric in known and _same(v, known[v.metric]) and _grew(v, known[v.metric])]
    symptoms = [_updated(s, worse, told=any(_same(v, s) for v in grown)) for s in incident.symptoms]
    after = replace(incident, symptoms=symptoms + joined, inside=0, last_run=night.run_id, regressed_run=night.run_id)
    new = [v for v in worse if any(_same(v, s) for s in joined)]
    if new:
        return after, _change(after, night, "joined", new, now, words)
    if grown:
        return after, _change(after, night, "grew", grown, now, words)
    return after, None


def _inside(incident: Incident, night: Night) -> bool:
    """Every symptom is inside its interval, and they lie nearer to what they were before than to what was told: a
    small change that is still there is inside most nights' intervals too."""
    found = [next((v for v in night.verdicts if _same(v, s)), None) for s in incident.symptoms]
    pairs = list(zip(incident.symptoms, found, strict=True))
    if not pairs or any(v is None or not _looks_usual(v) for _, v in pairs):
        return False
    sizes = [(s.told, v.effect) for s, v in pairs if v is not None and s.told is not None and v.effect is not None]
    return not sizes or sum(now for _, now in sizes) <= sum(told for told, _ in sizes) / 2


def _looks_usual(verdict: Verdict) -> bool:
    return verdict.verdict in (Word.UNCHANGED, Word.IMPROVED) and (verdict.lower is None or verdict.lower <= 0)


def _symptoms(worse: Sequence[Verdict]) -> list[Symptom]:
    """One a metric: its mean over levels if that is worse, else its worst level."""
    found = []
    for metric in dict.fromkeys(v.metric for v in worse):
        mine = [v for v in worse if v.metric == metric]
        lead = max(mine, key=lambda v: (v.level is None, -1.0 if v.effect is None else v.effect))
        found.append(Symptom(metric, lead.level, lead.effect, lead.effect))
    return found


def _grew(verdict: Verdict, symptom: Symptom) -> bool:
    return verdict.effect is not None and symptom.told is not None and verdict.effect >= GREW * symptom.told


def _updated(symptom: Symptom, worse: Sequence[Verdict], *, told: bool) -> Symptom:
    now = next((v for v in worse if _same(v, symptom)), None)
    if now is None:
        return symptom
    return replace(symptom, effect=now.effect, told=now.effect if told else symptom.told)


def _same(verdict: Verdict, symptom: Symptom) -> bool:
    return (verdict.metric, verdict.level) == (symptom.metric, symptom.level)


def _change(
    incident: Incident, night: Night, action: str, at: Sequence[Verdict], now: str, words: Words, why: str = ""
) -> Change:
    lead = {(s.metric, s.level) for s in incident.symptoms}
    shown = [v for v in at if (v.metric, v.level) in lead] or list(at)
    what = "; ".join(words(v) for v in shown)
    because = why if why else next((v.reason for v in shown if v.reason), "")
    return Change(incident.incident_id, incident.segment_id, night.run_id, action, what, GATEBENCH, because, now, True)
