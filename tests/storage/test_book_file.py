"""The file itself: locked, damaged, ahead of us, on a full disk."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import duckdb
import pytest

from storage.connection import Connection, open_file
from storage.errors import BookLocked, NewerSchema, StorageError
from storage.migrate import MIGRATIONS, migrate
from storage.store import Book

HOLD = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
con.close()
"""
FILL = """
import sys
from os import urandom
from pathlib import Path
from storage.errors import StorageError
from storage.records import Verdict
from storage.store import Book
book = Book(Path(sys.argv[1]) / "home" / "gatebench.duckdb")
rows = 0
try:
    for _ in range(200):
        wide = Verdict("gw", "sweep", "m", 1, None, None, None, None, None, "unchanged", urandom(20000).hex())
        book.add_verdicts(f"run-{rows}", [wide])
        rows += 1
except StorageError as error:
    print(f"{error.exit_code} {error}")
for file in Path(sys.argv[1]).glob("ballast"):
    file.unlink()
kept = sum(len(book.verdicts(f"run-{i}")) for i in range(rows + 1))
print(f"kept {kept} of {rows}")
"""
QUIET = """
import sys
from pathlib import Path
from storage.store import Book
book = Book(Path(sys.argv[1]))
print(book.history([], before="2026-11-03T02:00:00+00:00").height, book.tonight("x", night=1).height)
"""


@pytest.fixture
def holder(book):
    """Another process that holds the book until it is told to let go."""
    book.runs()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(book.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.communicate("\n" if process.poll() is None else None)


def test_a_held_book_is_waited_for_and_then_named_with_the_process_that_holds_it(book, holder):
    with pytest.raises(BookLocked, match=f"{book.path} is held by process {holder.pid}, waited 0.2 s; close"):
        Book(book.path, wait_s=0.2).runs()


def test_a_book_released_in_time_is_used(book, holder):
    pauses = []

    def let_go(pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 2:
            holder.communicate("\n")

    patient = Book(book.path, connection=Connection(book.path, sleep=let_go, rng=Random(1)))
    assert patient.runs() == []
    assert len(pauses) == 2
    assert pauses[1] > pauses[0]


def test_a_book_that_is_kept_open_is_opened_once_for_all_and_free_after_that(book, make_run):
    opened = []

    def open_it(path: Path) -> duckdb.DuckDBPyConnection:
        beside = {con for con in opened if _is_open(con)}
        opened.append(open_file(path))
        looked.append(len(beside))
        return opened[-1]

    looked: list[int] = []
    mine = Book(book.path, connection=Connection(book.path, open=open_it))
    with mine.kept_open():
        mine.start_run(make_run())
        assert [run.run_id for run in mine.runs()] == [make_run().run_id]
    assert looked[-2:] == [1, 1]  # both found it open
    assert not any(_is_open(con) for con in opened)
    asked = "import duckdb, sys; print(len(duckdb.connect(sys.argv[1]).execute('from runs').fetchall()))"
    done = subprocess.run([sys.executable, "-c", asked, str(book.path)], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_book_that_cannot_be_kept_open_says_why(book, holder):
    with pytest.raises(BookLocked, match=f"held by process {holder.pid}"), Book(book.path, wait_s=0.2).kept_open():
        pass


def _is_open(con: duckdb.DuckDBPyConnection) -> bool:
    try:
        con.execute("select 1")
    except duckdb.ConnectionException:
        return False
    return True


def test_many_threads_and_two_processes_write_one_book_and_nothing_is_lost(book):
    script = (
        "import sys; from pathlib import Path; from storage.store import Book\n"
        "book = Book(Path(sys.argv[1]))\n"
        "for i in range(10): book.record_alert('r', 'k', channels=1, title=f'p{i}', body='', sent_at='', error=None)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(book.path)])

    def write(name: str) -> None:
        for i in range(5):
            Book(book.path).record_alert("r", "k", channels=1, title=f"{name}{i}", body="", sent_at="", error=None)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait() == 0
    titles = sorted(alert.title for alert in book.alerts("r"))
    assert titles == sorted([f"{name}{i}" for name in "ab" for i in range(5)] + [f"p{i}" for i in range(10)])


WRITE = """
import sys
from pathlib import Path
from storage.store import Book
book = Book(Path(sys.argv[1]))
print("ready", flush=True)
for i in range(int(sys.argv[2])):
    book.record_alert("r", "k", channels=i, title="", body="", sent_at="", error=None)
"""


@pytest.fixture
def writer(book):
    """Another process that writes without end."""
    book.runs()
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(book.path), "9999"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def written(book: Book) -> list[int]:
    return [alert.channels for alert in book.alerts("r")]


def test_a_reader_beside_a_writer_finds_whole_steps_only_and_ever_more_of_them(book, writer):
    reads = [written(book)]
    while len(reads) < 4 or not reads[-1]:
        reads.append(written(book))
    assert [read for read in reads if read != list(range(len(read)))] == []
    assert [len(read) for read in reads] == sorted(len(read) for read in reads)


def test_a_writer_that_is_killed_leaves_what_it_had_finished(book, writer):
    while len(written(book)) < 3:
        assert writer.poll() is None
    writer.kill()
    writer.wait()
    left = written(book)
    assert left == list(range(len(left)))
    assert len(left) >= 3
    book.record_alert("r", "k", channels=-1, title="", body="", sent_at="", error=None)
    assert written(book) == [*left, -1]
    journal = book.path.with_name("journal.jsonl").read_text().splitlines()
    assert len(journal) in (len(left), len(left) + 1)  # a kill between the two loses the line, never the row


def test_processes_that_begin_the_same_book_at_once_all_find_a_whole_one(tmp_path: Path):
    path = tmp_path / "home" / "gatebench.duckdb"
    script = (
        "import sys; from pathlib import Path; from storage.store import Book\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "Book(Path(sys.argv[1])).record_alert('r', 'k', channels=1, title='', body='', sent_at='', error=None)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", script, str(path)], **pipes) for _ in range(4)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert len(Book(path).alerts("r")) == 4
    assert sorted(file.name for file in path.parent.iterdir()) == ["gatebench.duckdb", "journal.jsonl"]


def test_a_step_that_fails_leaves_nothing_behind(book):
    def half(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("insert into run_segments values ('r', 's')")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        book._do(half)
    assert book._do(lambda con: con.execute("select count(*) from run_segments").fetchone()) == (0,)


def test_a_mistake_of_ours_is_not_called_a_storage_error(book):
    with pytest.raises(duckdb.CatalogException):
        book._do(lambda con: con.execute("select * from no_such_table"))


def test_migrating_again_changes_nothing(tmp_path: Path):
    con = open_file(tmp_path / "b.duckdb")
    names = sorted(file.stem for file in MIGRATIONS.glob("*.sql"))
    versions = list(range(1, len(names) + 1))
    assert migrate(con) == versions
    assert migrate(con) == []
    kept = con.execute("select version, name from schema_migrations order by version").fetchall()
    assert kept == list(zip(versions, names, strict=True))
    con.close()


def test_the_contract_s_tables_are_there(book):
    tables = book._do(lambda con: con.execute("select table_name from duckdb_tables()").fetchall())
    contract = "runs trials estimates verdicts segments baselines incidents alerts workloads schema_migrations"
    assert set(contract.split()) <= {row[0] for row in tables}


def test_a_migration_that_fails_leaves_the_schema_and_its_record_as_they_were(tmp_path: Path):
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    (folder / "0999_half.sql").write_text("create table half (a integer); insert into half values ('x');")
    con = open_file(tmp_path / "b.duckdb")
    with pytest.raises(duckdb.ConversionException):
        migrate(con, folder)
    newest = max(int(file.stem[:4]) for file in MIGRATIONS.glob("*.sql"))
    assert con.execute("select max(version) from schema_migrations").fetchone() == (newest,)
    assert con.execute("select count(*) from duckdb_tables() where table_name = 'half'").fetchone() == (0,)
    (folder / "0999_half.sql").write_text("create table half (a integer);")
    assert migrate(con, folder) == [999]
    con.close()


def test_a_book_of_a_newer_gatebench_is_refused(book):
    book._do(lambda con: con.execute("insert into schema_migrations values (999, '0999_future', '')"))
    with pytest.raises(NewerSchema, match="newer gatebench; upgrade, or use another GATEBENCH_HOME") as caught:
        book.runs()
    assert caught.value.exit_code == 16


def test_somebody_else_s_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("create table cats (name text)")
    with pytest.raises(StorageError, match=r"tables of something else \(cats\)"):
        Book(path).runs()
    with duckdb.connect(str(path)) as con:
        assert con.execute("select table_name from duckdb_tables()").fetchall() == [("cats",)]


@pytest.mark.parametrize("content", [b"", b"this is no database " * 1000])
def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path, content: bytes):
    path = tmp_path / "gatebench.duckdb"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged or no gatebench book; `gatebench rebuild` moves it aside"):
        Book(path).runs()
    assert path.read_bytes() == content


def test_a_book_cut_in_half_is_refused_with_what_to_do(book, make_run):
    book.start_run(make_run())
    whole = book.path.read_bytes()
    book.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="is damaged or no gatebench book; `gatebench rebuild`"):
        book.runs()


def test_a_folder_in_place_of_the_book_and_a_file_in_place_of_its_folder_are_refused(tmp_path: Path):
    with pytest.raises(StorageError, match="cannot use the book"):
        Book(tmp_path).runs()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot use"):
        Book(tmp_path / "file" / "gatebench.duckdb").runs()


def own_file_systems() -> bool:
    """May this user mount a file system that nobody else sees?"""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


def test_a_full_disk_is_one_sentence_and_every_finished_step_is_kept(tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    shell = 'mount -t tmpfs -o size=3m tmpfs "$1" && head -c 500000 /dev/zero > "$1/ballast" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", shell, "sh", str(small), sys.executable, FILL]
    if not own_file_systems():
        pytest.skip("needs unshare and mount for a small file system of its own")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, kept = done.stdout.splitlines()
    assert said.startswith("16 no space left for the book")
    assert kept.split()[1] == kept.split()[3] != "0"
    assert done.stderr == ""


def test_a_script_that_reads_frames_from_the_book_leaves_stderr_empty(book, make_run):
    book.start_run(make_run())
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(book.path)], capture_output=True, text=True, env={**os.environ}, check=True
    )
    assert (done.stdout, done.stderr) == ("0 0\n", "")
