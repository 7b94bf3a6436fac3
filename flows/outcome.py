"""How a run ended, and the exit code that says so. Pure."""

from dataclasses import dataclass, field
from typing import Any

from storage.records import Word

# With several, the first of these.
PRECEDENCE = (13, 14, 16, 10, 11, 12, 15)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a flow hands back: ids, words and paths; everything else is in the book."""

    run_id: str
    flow: str
    verdict: str | None  # a Word, or None: not judged
    exit_code: int
    headline: str
    report: str | None
    home: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """False: a leg says nothing about the target, for the generator was the limit."""
        return self.exit_code != 12


def exit_code(verdict: str | None, *, slo_broken: bool, stopped: bool, invalid: bool, nothing: bool) -> int:
    """0 also for inconclusive; `--strict` makes that 17 (`flows.cli_perform`)."""
    codes = set()
    if nothing:
        codes.add(14)
    if verdict == Word.REGRESSED:
        codes.add(10)
    if slo_broken:
        codes.add(11)
    if invalid or verdict == Word.INVALID:
        codes.add(12)
    if stopped:
        codes.add(15)
        codes.discard(12)  # it is invalid because it was stopped
    for code in PRECEDENCE:
        if code in codes:
            return code
    return 0
