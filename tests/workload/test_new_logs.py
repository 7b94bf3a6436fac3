import os
from pathlib import Path

import pytest

from storage.errors import UsageError
from tasks.workload.newness import unread


def write(path: Path, text: str, mtime_s: int = 1_000) -> Path:
    path.write_text(text)
    os.utime(path, (mtime_s, mtime_s))
    return path


def test_a_log_is_read_once(tmp_path):
    log = write(tmp_path / "a.jsonl", "one\n")
    fresh, moved = unread([log], [])
    assert [(f.path, f.size, f.mtime_ns) for f in fresh] == [(str(log), 4, 1_000 * 10**9)] and moved == []
    assert unread([log], fresh) == ([], [])


def test_a_log_that_grew_is_read_again(tmp_path):
    log = write(tmp_path / "a.jsonl", "one\n")
    known, _ = unread([log], [])
    write(log, "one\ntwo\n", 2_000)
    assert [f.size for f in unread([log], known)[0]] == [8]


def test_a_log_that_a_rotation_renamed_is_not_read_twice(tmp_path):
    known, _ = unread([write(tmp_path / "a.jsonl", "one\n")], [])
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.1")
    new = write(tmp_path / "a.jsonl", "two\n", 3_000)
    fresh, moved = unread([tmp_path / "a.jsonl.1", new], known)
    assert [f.path for f in fresh] == [str(new)]
    assert [f.path for f in moved] == [str(tmp_path / "a.jsonl.1")]


def test_two_copies_of_a_log_are_one(tmp_path):
    both = [write(tmp_path / name, "same\n") for name in ("a.jsonl", "b.jsonl")]
    fresh, moved = unread(both, [])
    assert [f.path for f in fresh] == [str(both[0])]
    assert [f.path for f in moved] == [str(both[1])]


def test_a_log_that_was_touched_and_not_changed_is_not_read_again(tmp_path):
    log = write(tmp_path / "a.jsonl", "one\n")
    known, _ = unread([log], [])
    os.utime(log, (5_000, 5_000))
    fresh, moved = unread([log], known)
    assert fresh == [] and moved[0].mtime_ns == 5_000 * 10**9


def test_a_log_that_is_gone_is_said(tmp_path):
    with pytest.raises(UsageError, match="cannot read the log"):
        unread([tmp_path / "gone"], [])
