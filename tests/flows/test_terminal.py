"""What a run shows while it goes, on a terminal and where nobody looks."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from flows.listen import Under
from flows.pace import seconds_left, seconds_of
from flows.terminal import Terminal, facts, lines, span
from tasks.load.pulse import Seen
from tasks.load.spec import LegSpec, TargetSpec
from tests.fakes.samples import leg

LEG = Under("gateway, 50 concurrent, block 3", 17, 40, Path("/none"), 200, 8.0, 160.0)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def console(**more: object) -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False, **{"force_terminal": False, **more})


def text(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def drawn(under: Under, seen: Seen, gone_s: float = 0.0, width: int = 80) -> list[str]:
    screen = console()
    screen.print(lines(under, seen, gone_s, width))
    return text(screen).splitlines()


def test_two_lines_tell_what_is_measured_and_how_it_goes():
    first, second = drawn(LEG, Seen(90, 2, 812.3, 0.21), gone_s=3.0)
    assert first.split() == "gateway, 50 concurrent, block 3 leg 17 of 40".split()
    assert second.rstrip().endswith("812/s  2.2 % failed  lag 0.2 ms  2 min 37 s left")


@pytest.mark.parametrize(
    "label", ["gateway", "a very long name of a target that never ends, 1000 concurrent, block 12"]
)
def test_they_fit_80_columns(label):
    under = Under(label, 1234, 5678, Path("/none"), 0, None, 360_000.0)
    found = drawn(under, Seen(10**7, 10**6, 12_345.6, 12_345.6))
    assert len(found) == 2
    assert max(map(len, found)) <= 80
    assert found[0].endswith("leg 1234 of 5678")


def test_what_is_not_known_yet_is_left_out():
    assert facts(Under("x", 1, 1, Path("/"), 0, None, None), Seen(), 0.0) == []
    assert facts(LEG, Seen(5, 0, 3.21, None), 170.0) == ["3.2/s", "none failed", "0 s left"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.6, "8 s"), (151, "2 min 31 s"), (660, "11 min"), (3900, "1 h 5 min"), (-3, "0 s")]
)
def test_a_time_is_said_as_people_say_it(seconds, said):
    assert span(seconds) == said


def test_where_nobody_looks_there_is_a_line_now_and_then_between_two_legs():
    screen, time = console(), Time()
    with Terminal(console=screen, clock=time) as terminal:
        terminal.say("run r1: gateway")
        terminal.begin(Under("a", 1, 40, Path("/none"), 200, None, None))
        time.now = 10.0
        terminal.begin(Under("b", 2, 40, Path("/none"), 200, None, None))
        time.now = 31.0
        terminal.begin(Under("c", 3, 40, Path("/none"), 200, 8.0, 900.0))
        terminal.begin(Under("d", 4, 40, Path("/none"), 200, 8.0, 890.0))
    assert text(screen) == "run r1: gateway\n2 of 40 legs, about 15 min left\n"


def test_long_lines_stay_whole_where_nobody_looks_and_fold_at_words_on_a_terminal():
    said = "word " * 30
    plain, terminal = console(), console(force_terminal=True)
    Terminal(console=plain).say(said)
    Terminal(console=terminal).say(said)
    assert text(plain).rstrip() == said.rstrip()
    assert len(text(terminal).splitlines()) == 2
    path = f"report: /{'x' * 100}"
    Terminal(console=terminal).say(path)
    assert path.split()[1] in text(terminal)


def test_on_a_terminal_the_lines_move_and_leave_nothing_behind():
    screen = console(force_terminal=True)
    with Terminal(console=screen) as terminal:
        terminal.begin(LEG)
        terminal.say("something to remember")
        terminal.end(40, 40)
    shown = text(screen)
    assert "leg 17 of 40" in shown
    assert shown.index("something to remember") >= 0
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is hidden, and back


def test_quiet_shows_nothing():
    screen = console(force_terminal=True, quiet=True)
    with Terminal(quiet=True, console=screen) as terminal:
        terminal.say("x")
        terminal.begin(LEG)
    assert text(screen) == ""


# --- how long it will take


def spec(level: int, target: str = "gw", **more: object) -> LegSpec:
    where = TargetSpec(target, "http://127.0.0.1:1/v1", "m")
    facts = {"series": "sweep", "loop": "closed", "requests": 200, **more}
    return LegSpec("r", "t", f"x{level}", "first", 2, where, level=level, folder="/f", workload="/w", workload_id="w",
                   seed=1, **facts)  # fmt: skip


def test_a_leg_takes_as_long_as_the_same_leg_before_it():
    done = [leg("a", level=10, duration_s=4.0), leg("b", level=10, duration_s=6.0), leg("c", level=1, duration_s=60.0)]
    assert seconds_of(spec(10), done) == 5.0


def test_a_level_that_was_not_measured_yet_takes_what_its_concurrency_makes_of_the_others():
    done = [leg("a", level=1, duration_s=20.0, measured=200)]
    assert seconds_of(spec(10), done) == pytest.approx(2.0)
    assert seconds_of(spec(10, target="other"), done) == pytest.approx(2.0)


def test_a_schedule_takes_as_long_as_it_is():
    assert seconds_of(spec(0, loop="open", series="load", duration_s=30.0, warmup_s=3.0), []) == 33.0
    assert seconds_of(spec(0, loop="open", series="load", steps=((10.0, 5.0), (20.0, 6.0))), []) == 11.0


def test_nobody_can_tell_before_anything_was_measured():
    assert seconds_left([spec(1)], []) is None
    assert seconds_left([spec(1), spec(10)], [leg("a", level=1, duration_s=20.0, measured=200)]) == pytest.approx(22.0)
