import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from storage.records import Incident, Symptom
from tasks.report.terminal import render_terminal
from tasks.report.view import RunView

View = Callable[..., RunView]


def printed(view: RunView, width: int = 80, **options: Any) -> str:
    out = io.StringIO()
    render_terminal(view, Console(file=out, width=width, **options))
    return out.getvalue()


def test_the_summary_fits_eighty_columns_and_says_what_matters(view: View) -> None:
    text = printed(view())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "Regressed: p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56] against 7",
        "p95 latency at 10 concurrent regressed +48 % [+41, +56] +68.8 ms 7",
        "10 110 ms 212 ms 260 ms 80.0/s 0 % valid",
        "[107, 113] [201, 224] [230, 290] [78.0, 82.0]",
        "ceiling reached 80.0/s [78.0, 82.0] at 10 concurrent, limited by capacity",
        "instrument streaming: floor 0.31 ms (p99 0.92 ms), ceiling 14,000/s; this run",
        "show gatebench show r7",
        "report /data/runs/r7/report.html",
    ):
        assert line in lines


def test_what_was_never_sent_is_not_called_lost(view: View, made: dict[str, Any]) -> None:
    whole = made["leg"](1, 0)
    stopped, broken = replace(whole, lost=30, stopped="budget"), replace(whole, lost=4)
    assert "100 requests measured, 0 % failed, 30 not sent\n" in plain(printed(view(legs=[stopped])))
    assert "100 requests measured, 0 % failed, 4 lost\n" in plain(printed(view(legs=[broken])))
    assert "0 % failed, 30 not sent, 4 lost\n" in plain(printed(view(legs=[stopped, broken])))
    assert "requests measured, 0 % failed\n" in plain(printed(view(legs=[whole])))


def plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_what_did_not_change_is_not_listed(view: View) -> None:
    assert "p95 latency at 1 concurrent" not in printed(view())


def test_plain_output_has_no_escape_codes_and_a_terminal_has_colour(view: View) -> None:
    assert "\x1b[" not in printed(view())
    assert "\x1b[1;31mRegressed" in printed(view(), force_terminal=True, color_system="standard")
    assert "31m" not in printed(view(), force_terminal=True, color_system="standard", no_color=True)


def test_wide_numbers_wrap_instead_of_being_cut(view: View) -> None:
    slow = [
        replace(c, estimate=replace(c.estimate, point=12.345, lower=11.111, upper=13.579))
        if c.metric.startswith("latency")
        else c
        for c in view().cells
    ]
    text = printed(view(cells=slow))
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert text.count("12,345") >= 6


def test_reasons_against_a_level_stand_below_the_table(view: View, made: dict[str, Any]) -> None:
    late = made["leg"](10, 1, validity="suspect", reasons=["schedule lag p99 7 ms is over 5 ms"])
    text = printed(view(legs=[made["leg"](1, 0), late]))
    assert "schedule lag p99 7 ms is over 5 ms" in text
    assert "suspect" in text


def test_what_a_target_said_cannot_move_the_cursor(view: View) -> None:
    text = printed(view(verdict=None, status="failed", reason="HTTP 500 \x1b[2J\x07 bad [bold]thing[/bold]"))
    assert "\x1b" not in text and "\x07" not in text
    assert "[bold]thing[/bold]" in text


def test_a_long_report_path_is_not_folded(view: View) -> None:
    path = "/data/" + "a-long-folder-name/" * 8 + "report.html"
    assert path in printed(view(report=path))


def test_an_open_incident_is_told_with_its_command(view: View) -> None:
    symptoms = [Symptom("latency_p95", None, 0.1, 0.1), Symptom("latency_p99", None, 0.1, 0.1)]
    at = "2026-11-05T02:00:00+00:00"
    one = Incident("3", "s-1", "gw", "sweep", "latency", "open", "r5", at, at, "10 nights", symptoms, 0, "r7", "r7")
    assert "incident 3, open since 2026-11-05 (p95 latency, p99 latency): gatebench incidents show 3" in " ".join(
        printed(view(incidents=[one])).split()
    )
