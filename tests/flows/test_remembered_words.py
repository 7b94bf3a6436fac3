from storage.segments import Segment
from tasks.remember import entered_words


def segment(series: str) -> Segment:
    return Segment(series, series, 0, "gateway", series, "w", "plan", "machine", "2026-11-24", "first")


REPLAY, SWEEP = segment("replay"), segment("sweep")


def test_a_night_that_entered_everything_says_how_many_nights_there_are():
    assert entered_words({"replay": 1, "sweep": 1}, [REPLAY, SWEEP]) == "entered the baseline, which now holds 1 night"


def test_a_night_of_which_only_a_part_was_good_says_which_part():
    said = entered_words({"replay": 4}, [REPLAY, SWEEP])
    assert said == "entered the baseline of gateway replay, which now holds 4 nights"


def test_parts_that_hold_different_numbers_of_nights_are_told_apart():
    said = entered_words({"replay": 5, "sweep": 2}, [REPLAY, SWEEP])
    assert said == "entered the baselines of gateway replay (5 nights now); gateway sweep (2 nights now)"
