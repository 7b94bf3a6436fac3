"""Room, file modes and pins, as the doctor tells them."""

import pytest

from tasks.doctor import packages, place
from tasks.doctor.probes import Mode


@pytest.mark.parametrize(("free", "grade"), [(5_000_000_000, "ok"), (500_000_000, "warn"), (1_000_000, "bad")])
def test_room_is_graded(free, grade):
    assert place.room("/data", free).grade == grade


def test_memory_and_network_file_systems_are_told():
    assert place.file_system("/data", "ext4").grade == "ok"
    assert "gone at the next start" in place.file_system("/data", "tmpfs").found
    assert "locks on network" in place.file_system("/data", "nfs4").mend


def test_files_that_others_may_read_are_told_one_by_one():
    found = place.modes(
        [
            Mode("/h", "the data root", 0o700, True),
            Mode("/h/book", "the book", 0o644, True),
            Mode("g.toml", "settings with a key", 0o640, True),
            Mode("/s", "settings", 0o600, False),
        ]
    )
    assert [(one.grade, one.mend) for one in found] == [
        ("warn", "chmod go= /h/book"),
        ("bad", "chmod go= g.toml"),
        ("warn", "sudo chown -R $USER /s"),
    ]
    assert place.modes([Mode("/h", "the data root", 0o700, True)])[0].grade == "ok"


def test_a_file_that_others_may_write_is_bad_whatever_it_holds():
    assert place.modes([Mode("/h", "the data root", 0o722, True)])[0].grade == "bad"


def test_a_book_that_cannot_be_read_says_why():
    assert place.book("the book is locked", None, "/b").found == "the book is locked"
    assert place.book("the book is locked", None, "/b").grade == "bad"
    assert place.book(None, 12, "/b").found == "12 runs in /b"


REQUIRES = [
    "prefect<3.9,>=3.8.8",
    "sqlalchemy<2.1,>=2.0",
    "rich>=14",
    "uvloop<0.24,>=0.23; sys_platform != 'win32'",
    "apache-otava<0.9,>=0.8; extra == 'otava'",
]
FINE = {"prefect": "3.8.8", "sqlalchemy": "2.0.58", "rich": "14.1", "uvloop": "0.23.0"}


def test_what_was_tried_together_is_fine_and_extras_are_nobodys_loss():
    (found,) = packages.pins(REQUIRES, FINE.get)
    assert (found.grade, found.found) == ("ok", "prefect 3.8.8, sqlalchemy 2.0.58 and the others as tried")


@pytest.mark.parametrize(
    ("name", "version", "grade", "said"),
    [
        ("sqlalchemy", "2.1.0", "bad", "sqlalchemy is 2.1.0, not <2.1,>=2.0: the scheduler never creates"),
        ("prefect", "3.9.1", "bad", "prefect is 3.9.1"),
        ("rich", "13.0", "warn", "rich is 13.0, not >=14: not tried together"),
        ("uvloop", None, "bad", "uvloop is not installed"),
    ],
)
def test_a_pin_that_does_not_hold_says_what_comes_of_it(name, version, grade, said):
    (found,) = packages.pins(REQUIRES, {**FINE, name: version}.get)
    assert found.grade == grade
    assert found.found.startswith(said)
    assert found.mend.startswith(f'pip install "{name}')
