from storage.files import RunFiles
from storage.records import LogFile


def test_the_book_remembers_which_logs_a_plan_has_read(book):
    first = [LogFile("/logs/a", 10, 1, "aa"), LogFile("/logs/b", 20, 2, "bb")]
    book.remember_logs("nightly", first)
    assert book.logs_read("nightly") == first
    assert book.logs_read("other") == []
    book.remember_logs("nightly", [LogFile("/logs/a", 15, 3, "cc")])
    assert {log.path: log.size for log in book.logs_read("nightly")} == {"/logs/a": 15, "/logs/b": 20}


def test_a_runs_fidelity_lies_in_its_folder(tmp_path):
    files = RunFiles(tmp_path, "20261124T000000Z-nightly-0000")
    assert files.read_fidelity() == []
    files.write_fidelity([{"about": "replay", "ok": True}])
    assert files.read_fidelity() == [{"about": "replay", "ok": True}]
