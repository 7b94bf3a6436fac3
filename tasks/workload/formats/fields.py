"""Single values of a log: read, or Broken with the name of the field and never its content.

Absent and null are None. Numbers may be written as text, as CSV does.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tasks.workload.formats.adapter import Broken

PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
DIGITS = re.compile(r"[0-9]{1,12}(?:\.0{1,12})?")
NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+]?[0-9]{1,2})?")
ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,12}))?\s?(Z|z|UTC|[+-]\d\d:?\d\d|[+-]\d\d)?", re.ASCII
)
MOST_TOKENS = 1_000_000_000
MOST_NS = 2**62
UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TRUE, FALSE = frozenset({"true", "t", "1", "yes"}), frozenset({"false", "f", "0", "no"})


def part(record: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The object under a key, or under a path of keys; empty where there is none."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def first(record: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these keys that is neither absent, null nor empty text."""
    return next((value for name in names if (value := record.get(name)) is not None and value != ""), None)


def text(value: Any) -> str | None:
    """Text that is not empty; a whole number as its digits (an id)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def plain(value: Any) -> str | None:
    """A code, class or type name; anything longer or stranger is not kept."""
    found = text(value)
    return found if found is not None and PLAIN.fullmatch(found) else None


def flag(*values: Any) -> bool | None:
    """The first of them that is a boolean, be it written as text."""
    for value in values:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in TRUE | FALSE:
            return value.lower() in TRUE
    return None


def tokens(record: Mapping[str, Any], *names: str) -> int | None:
    """A count under the first of these keys that holds anything. Raises Broken."""
    for name in names:
        value = record.get(name)
        if value is not None and value != "":
            return count(value, name)
    return None


def count(value: Any, name: str) -> int:
    """A whole number from 0 to a thousand million. Raises Broken."""
    if isinstance(value, str) and DIGITS.fullmatch(value.strip()):
        value = int(value.strip().partition(".")[0])
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise Broken(f"{name} is not a whole number")
    if not 0 <= value <= MOST_TOKENS:
        raise Broken(f"{name} is out of range")
    return int(value)


def cap(record: Mapping[str, Any], *names: str) -> int | None:
    """What the client set as the most tokens of an answer, which may be nonsense: then it is no cap."""
    for name in names or ("max_completion_tokens", "max_tokens"):
        value = record.get(name)
        if isinstance(value, str) and DIGITS.fullmatch(value):
            value = int(value.partition(".")[0])
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS:
            return value
    return None


def moment_ns(value: Any, name: str, unit: str = "auto") -> int | None:
    """A stamp in ns since the epoch: ISO 8601 (without an offset it is UTC), or a number in s, ms, us or ns; "auto"
    tells the unit by its size, "iso" takes no number. None for null and empty text. Raises Broken.

    Text is exact to the ns; a float to a µs, for a double holds no more seconds since the epoch.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        found = ISO.fullmatch(value.strip())
        if found:
            return _iso_ns(found, name)
    number = _number(value)
    if number is None or unit == "iso":
        raise Broken(f"{name} is not a time")
    if unit == "auto":
        unit = "s" if number < 1e11 else "ms" if number < 1e14 else "us" if number < 1e17 else "ns"
    whole = round(number * UNITS_NS[unit]) if not isinstance(number, float) else _of_float(number, UNITS_NS[unit])
    if not 0 <= whole < MOST_NS:
        raise Broken(f"{name} is not a time")
    return whole


def span_ns(value: Any, name: str, unit: str) -> int | None:
    """A duration in ns, of a number in s, ms, us or ns. None for null and empty text. Raises Broken."""
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None or not 0 <= (whole := round(number * UNITS_NS[unit])) < MOST_NS:
        raise Broken(f"{name} is not a duration")
    return whole


def _of_float(number: float, unit_ns: int) -> int:
    return round(number * (unit_ns // 1000)) * 1000 if unit_ns >= 1000 else round(number)


def _number(value: Any) -> int | float | Decimal | None:
    if isinstance(value, str):
        return Decimal(value.strip()) if NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e25 else None


def _iso_ns(found: re.Match[str], name: str) -> int:
    day, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{_offset(zone)}")
    except ValueError:
        raise Broken(f"{name} is not a time") from None
    seconds = (moment - EPOCH) // SECOND
    whole = seconds * 10**9 + (int(fraction[:9].ljust(9, "0")) if fraction else 0)
    if not 0 <= whole < MOST_NS:
        raise Broken(f"{name} is not a time")
    return whole


def _offset(zone: str | None) -> str:
    if zone is None or zone in ("Z", "z", "UTC"):
        return "+00:00"
    return f"{zone[:3]}:{zone[-2:] if len(zone) > 3 else '00'}"
