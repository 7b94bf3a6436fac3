"""Single values of logs, to the last digit; what cannot be read is named and never quoted."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.workload.formats.adapter import Broken
from tasks.workload.formats.fields import cap, count, first, flag, moment_ns, part, plain, span_ns, text, tokens

NOON_NS = 1_767_268_800 * 10**9  # 2026-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2026-01-01T12:00:00Z", 0),
        ("2026-01-01 12:00:00", 0),
        ("2026-01-01T12:00", 0),
        ("2026-01-01 12:00:00 UTC", 0),
        ("2026-01-01 14:00:00+02", 0),
        ("2026-01-01T17:30:00.000+0530", 0),
        ("2026-01-01T07:00:00,5-05:00", 500_000_000),
        ("2026-01-01T12:00:00.9799600", 979_960_000),
        ("2026-01-01T12:00:00.123456789999Z", 123_456_789),
        ("1767268800.000000001", 1),
        (1767268800, 0),
        (1767268800.25, 250_000_000),
        (1767268800123, 123_000_000),
        (1767268800123456, 123_456_000),
        ("1767268800123456789", 123_456_789),
    ],
)
def test_a_stamp_is_read_to_its_last_digit(written, ns):
    assert moment_ns(written, "t") == NOON_NS + ns


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_iso_stamps_agree_with_the_standard_library(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert moment_ns(aware.isoformat(), "t") == expected
    assert moment_ns(aware.isoformat(" ", "microseconds"), "t", "iso") == expected


@given(st.integers(10**9, 4 * 10**9), st.integers(0, 999_999))
def test_a_float_of_seconds_is_exact_to_a_microsecond(seconds, micros):
    assert moment_ns(seconds + micros / 1e6, "t", "s") == seconds * 10**9 + micros * 1000


@pytest.mark.parametrize(
    "written", ["soon", "2026-13-01T00:00:00", "-5", -5, True, [], {}, 1e30, "nan", "1e99", "9" * 30]
)
def test_what_is_no_time_is_named(written):
    with pytest.raises(Broken, match=r"^t is not a time$"):
        moment_ns(written, "t")


def test_a_column_of_iso_stamps_takes_no_number():
    with pytest.raises(Broken):
        moment_ns(5, "t", "iso")


def test_a_duration_is_read_in_its_unit():
    assert [span_ns(v, "d", u) for v, u in [(1.5, "s"), ("250", "ms"), (7, "us"), (7, "ns")]] == [
        1_500_000_000,
        250_000_000,
        7_000,
        7,
    ]
    for wrong in (-1, "long", True, 1e30):
        with pytest.raises(Broken, match=r"^d is not a duration$"):
            span_ns(wrong, "d", "s")


def test_nothing_is_none_everywhere():
    for nothing in (None, ""):
        assert moment_ns(nothing, "t") is span_ns(nothing, "d", "s") is text(nothing) is plain(nothing) is None
        assert tokens({"a": nothing}, "a", "b") is first({"a": nothing}, "a") is flag(nothing) is None
    assert part({"a": 1}, "a") == part({}, "a", "b") == {}


def test_counts_may_be_text_as_csv_has_them():
    assert [count(v, "n") for v in (0, 12, 12.0, "12", " 12 ", "12.0")] == [0, 12, 12, 12, 12, 12]
    for wrong in (1.5, "1.5", "twelve", True, float("nan"), float("inf"), [1], -1, 10**10):
        with pytest.raises(Broken, match=r"^n is"):
            count(wrong, "n")


def test_tokens_are_those_of_the_first_name_that_holds_any():
    assert tokens({"old": 5}, "new", "old") == 5
    assert tokens({"new": 0, "old": 5}, "new", "old") == 0


def test_a_cap_that_makes_no_sense_is_none():
    assert [cap({"max_tokens": v}) for v in (5, "5", 0, -1, "many", True, 1.5, None)] == [5, 5, *[None] * 6]


def test_flags_may_be_text():
    assert [flag(v) for v in (True, "t", "TRUE", "1", False, "f", "no", "maybe", 1)] == [
        *[True] * 4,
        *[False] * 3,
        None,
        None,
    ]
    assert flag(None, "maybe", False) is False


def test_only_codes_and_names_of_types_are_plain():
    assert [plain(v) for v in (429, "RateLimitError", "a b", "x" * 65, 1.5)] == [
        "429",
        "RateLimitError",
        None,
        None,
        None,
    ]
