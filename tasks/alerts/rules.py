"""When a night is worth a message."""

from collections.abc import Collection, Sequence

from storage.records import RunStatus, SloResult, Word

KINDS = (
    "failed",
    "cancelled",
    "regressed",
    "slo",
    "invalid",
    "fixed",
    "kept",
    "improved",
)  # in which order a message names them
NEWS = frozenset({"opened", "joined", "grew"})  # of an incident, each told once


def should_alert(
    on: Collection[str],
    *,
    verdict: str | None,
    status: str,
    slo_results: Sequence[SloResult] = (),
    changes: Collection[str] | None = None,
    mended: Sequence[SloResult] = (),
) -> list[str]:
    """The kinds among `on` that this run is, the gravest first; empty: no message. `slo` is a broken objective, or one
    with nothing to judge it by, which never passes. `slo_results` and `mended` are those that are news (`slo_news`);
    whoever hears that one is broken hears that it is kept again. A failed or an invalid night is told every time, for
    nobody watches meanwhile; whoever hears of a failed one hears of a cancelled one.

    `changes`: what the night did to incidents (`Change.action`): a regression is told when it opens one or makes it
    worse, not again every night; whoever hears of it hears of its end (`fixed`) and of a new normal (`improved`) too.
    None: a run that is no night, of which every regression is told.
    """
    is_so = {
        "failed": status in (RunStatus.FAILED, RunStatus.INTERRUPTED),
        "cancelled": status == RunStatus.CANCELLED,
        "regressed": verdict == Word.REGRESSED if changes is None else bool(NEWS & set(changes)),
        "slo": any(result.ok is not True for result in slo_results),
        "invalid": verdict == Word.INVALID,
        "fixed": changes is not None and "fixed" in changes,
        "kept": bool(mended),
        "improved": changes is not None and "new_normal" in changes,
    }
    with_it = {"failed": ("cancelled",), "regressed": ("fixed", "improved"), "slo": ("kept",)}
    asked = {*on, *(kind for asked_for in on for kind in with_it.get(asked_for, ()))}
    return [kind for kind in KINDS if kind in asked and is_so[kind]]


def slo_news(
    results: Sequence[SloResult], before: Sequence[SloResult] | None
) -> tuple[list[SloResult], list[SloResult]]:
    """(broken now and not the night before, broken then and kept now). `before` None: no night that was told of, so
    everything that is broken is news."""

    def place(result: SloResult) -> tuple[str, str, str, int]:
        return result.slo.text, result.target, result.series, result.level

    was_broken = {place(result) for result in before or () if result.ok is not True}
    broken = [r for r in results if r.ok is not True and place(r) not in was_broken]
    return broken, [r for r in results if r.ok is True and place(r) in was_broken]
