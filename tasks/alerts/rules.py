"""When a night is worth a message."""

from collections.abc import Collection, Sequence

from storage.records import RunStatus, SloResult, Word

KINDS = ("failed", "regressed", "slo", "invalid")  # the order in which a message names them


def should_alert(
    on: Collection[str], *, verdict: str | None, status: str, slo_results: Sequence[SloResult] = ()
) -> list[str]:
    """The kinds among `on` that this run is, the gravest first; empty: no message. `slo` is a broken objective, or one
    with nothing to judge it by, which never passes."""
    is_so = {
        "failed": status in (RunStatus.FAILED, RunStatus.INTERRUPTED),
        "regressed": verdict == Word.REGRESSED,
        "slo": any(result.ok is not True for result in slo_results),
        "invalid": verdict == Word.INVALID,
    }
    return [kind for kind in KINDS if kind in on and is_so[kind]]
