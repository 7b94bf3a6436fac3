"""That a run was measured in more than one go."""

from storage.records import Run
from tasks.charts.words import count


def resumed_word(run: Run) -> str | None:
    """For the headline; None: it was measured in one go."""
    return (
        ("Resumed after it had stopped" + (", so it enters no baseline." if run.scheduled else "."))
        if run.resumed
        else None
    )


def resumed_lines(run: Run) -> list[str]:
    """`resumed at 2026-11-24 03:52: kept 7 legs from before it was interrupted at 03:41, set 143 rows of others aside`,
    one for each time."""
    return [_line(one) for one in run.environment.get("resumed", [])]


def _line(one: dict[str, object]) -> str:
    kept, rows, ended = one.get("kept"), one.get("rows_set_aside"), one.get("ended")
    when = f" at {str(ended)[11:16]}" if ended else ""
    stayed = f"kept {count(_int(kept), 'leg')} from before it was {one.get('status')}{when}"
    said = f"resumed at {_minute(one.get('at'))}: {stayed}"
    return f"{said}, set {count(_int(rows), 'row')} of others aside" if rows else said


def _minute(stamp: object) -> str:
    return str(stamp)[:16].replace("T", " ")


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
