"""What a check says: fine, careful, or bad; what was found, and how to mend it."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"  # numbers may be a little off, or something is open that need not be
    BAD = "bad"  # a measurement here is spoilt, cannot run, or gives something away


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `gatebench doctor`. `mend`: what to do, empty where nothing is to be done."""

    name: str
    grade: Grade
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Finding:
    return Finding(name, Grade.OK, found)


def graded(name: str, bad: bool, warn: bool, found: str, mend: str) -> Finding:
    """The gravest grade that holds; the mending only where there is something to mend."""
    grade = Grade.BAD if bad else Grade.WARN if warn else Grade.OK
    return Finding(name, grade, found, "" if grade is Grade.OK else mend)


def worst(findings: "list[Finding]") -> Grade:
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.OK)
