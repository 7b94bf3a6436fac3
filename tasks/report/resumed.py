"""That a run was measured in more than one go."""

from storage.records import Run
from tasks.charts.words import count


def resumed_word(run: Run) -> str | None:
    """For the headline; None: it was measured in one go."""
    return "Resumed after it had stopped, so it enters no baseline." if run.resumed else None


def resumed_lines(run: Run) -> list[str]:
    """`resumed at 2026-11-24 03:52: 7 legs from before it was interrupted at 03:41 stay, 143 rows of others were set
    aside`, one for each time."""
    return [_line(one) for one in run.environment.get("resumed", [])]


def _line(one: dict[str, object]) -> str:
    kept, rows, ended = one.get("kept"), one.get("rows_set_aside"), one.get("ended")
    when = f" at {str(ended)[11:16]}" if ended else ""
    stay = f"{count(_int(kept), 'leg')} from before it was {one.get('status')}{when} stay"
    said = f"resumed at {_minute(one.get('at'))}: {stay}"
    return f"{said}, {count(_int(rows), 'row')} of others were set aside" if rows else said


def _minute(stamp: object) -> str:
    return str(stamp)[:16].replace("T", " ")


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
