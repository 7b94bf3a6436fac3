"""What the command line refuses: one sentence on stderr, the contract's exit code, no traceback, nothing lost."""

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

import config
from config.forms import TargetForm
from deployments.local import unused_port
from flows.load import load
from flows.replay import replay
from flows.sweep import sweep
from storage.connection import open_file
from storage.migrate import migrate
from tasks.simulator.model import SimConfig
from tasks.simulator.process import SimulatorProcess
from tests.fakes import command
from tests.fakes.command import COMMAND, Done
from tests.fakes.history import quiet_server

SAMPLE = Path(config.__file__).parent / "samples" / "litellm.jsonl.gz"
Command = Callable[..., Done]
HERE = "http://127.0.0.1:1/v1"
SMALL = ["--model", "m", "--concurrency", "1", "--requests", "10", "--no-control"]
HOLD = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""
# Fills a file system of its own while the second leg runs; afterwards room is made again and the book is asked.
FILL = r"""
mount -t tmpfs -o size=40m tmpfs "$1" && export GATEBENCH_HOME="$1/home" && cd "$1"
until ls home/runs/*/first-b1-*/leg.json > started 2>&1; do sleep 0.1; done && cat /dev/zero > ballast 2> full &
"$2" -m flows.cli sweep --url "$3" --quiet --model m --no-stream --no-control \
  --requests 4000 --concurrency 1 --blocks 10
echo "code $?"
rm -f ballast
echo "legs $(ls home/runs/*/first-b*/leg.json | wc -l)"
"$2" -m flows.cli runs --json -
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def bare(place: Path) -> dict[str, str]:
    return {**command.bare(), "GATEBENCH_HOME": str(place / "home")}


@pytest.fixture(scope="module")
def env(place: Path, bare: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The same with a Prefect server, whose history lies elsewhere."""
    with quiet_server(place / "server", tmp_path_factory) as ours:
        yield {**ours, **bare}


@pytest.fixture(scope="module")
def gatebench(place: Path, env: dict[str, str]) -> Iterator[Command]:
    with command.commands(env, place) as run:
        yield run


@pytest.fixture
def alone(place: Path, env: dict[str, str]) -> Command:
    """The same in a process of its own."""
    return lambda *args, **settings: command.alone({**env, **settings}, place, *args)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A new book in a home of its own."""
    path = tmp_path / "home" / "gatebench.duckdb"
    path.parent.mkdir()
    with open_file(path) as con:
        migrate(con)
    return path


@pytest.fixture
def held(book: Path) -> Iterator[Path]:
    """A book that another process holds."""
    words = [sys.executable, "-c", HOLD, str(book)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield book
    holder.communicate("\n")


# --- logs


def test_a_log_that_is_not_there(gatebench, tmp_path):
    done = gatebench("capture", tmp_path / "no.jsonl", "--out", tmp_path / "w.parquet")
    assert (done.code, done.out) == (2, "")
    assert done.sentence == f"no such log: {tmp_path / 'no.jsonl'}"


def test_an_empty_log(gatebench, tmp_path):
    (tmp_path / "e.jsonl").write_text("")
    done = gatebench("capture", tmp_path / "e.jsonl", "--out", tmp_path / "w.parquet")
    assert (done.code, done.out) == (14, "")
    assert done.sentence == f"{tmp_path / 'e.jsonl'}: empty, there is nothing to capture"
    assert not (tmp_path / "w.parquet").exists()


def test_a_log_of_no_known_format(gatebench, tmp_path):
    (tmp_path / "x.log").write_text("GET / HTTP/1.1\n")
    done = gatebench("capture", tmp_path / "x.log", "--out", tmp_path / "w.parquet")
    assert done.code == 2
    assert "no known log format; known are aiperf, azure, " in done.sentence


def test_a_column_that_a_table_has_not(gatebench, tmp_path):
    (tmp_path / "t.csv").write_text("when,in\n1,5\n")
    done = gatebench("capture", tmp_path / "t.csv", "--out", tmp_path / "w.parquet", "--map", "time=wann")
    assert (done.code, done.sentence) == (2, f"{tmp_path / 't.csv'} has no column wann; it has when, in")


def test_broken_lines_are_listed_and_the_rest_is_captured(gatebench, tmp_path):
    lines = gzip.decompress(SAMPLE.read_bytes()).splitlines()[:10]
    (tmp_path / "b.jsonl").write_bytes(b"\n".join([lines[0], b'{"cut', *lines[1:], b"junk", b""]))
    done = gatebench("capture", tmp_path / "b.jsonl", "--out", tmp_path / "w.parquet", "--json", tmp_path / "w.json")
    assert done.code == 0
    found = json.loads((tmp_path / "w.json").read_text())
    assert found["ledger"].startswith("12 rows read = ")
    assert "2 not JSON" in found["ledger"]
    assert [json.loads(line)["line"] for line in Path(found["rejects"]).read_text().splitlines()][:1] == [2]


def test_a_workload_that_is_a_log(gatebench, tmp_path):
    (tmp_path / "b.jsonl").write_text("{}\n")
    done = gatebench("profile", tmp_path / "b.jsonl")
    assert (done.code, "is not a workload; `gatebench capture" in done.sentence) == (2, True)


# --- targets


def test_a_url_where_nothing_answers(gatebench):
    url = f"http://127.0.0.1:{unused_port()}/v1"
    done = gatebench("sweep", "--url", url, *SMALL)
    assert (done.code, done.out) == (13, "")
    assert done.sentence.startswith(f"nothing answers at {url} (ConnectError")


def test_a_key_that_is_missing_or_wrong_is_said_and_never_shown(gatebench):
    with SimulatorProcess(SimConfig(slots=0, service_ms=1), api_key="sk-right") as simulator:
        missing = gatebench("sweep", "--url", simulator.url, *SMALL)
        wrong = gatebench("sweep", "--url", simulator.url, *SMALL, GATEBENCH_API_KEY="sk-wrong")
    assert (missing.code, wrong.code) == (13, 13)
    assert missing.sentence == f"{simulator_at(missing)} answers 401: the key in GATEBENCH_API_KEY is not set"
    assert wrong.sentence.endswith("answers 401: the key in GATEBENCH_API_KEY was refused")
    assert "sk-" not in missing.err + wrong.err


def simulator_at(done: Done) -> str:
    return done.sentence.split()[0]


@pytest.mark.parametrize("host", ["10.0.0.1", "127.evil.com", "localhost.evil.com"])
def test_a_host_that_nobody_allowed_is_not_even_asked(gatebench, host):
    done = gatebench("sweep", "--url", f"http://{host}/v1", *SMALL)
    assert done.code == 2
    assert done.sentence.startswith(f"{host} is not this machine, and nobody allowed it")


def test_a_host_is_allowed_on_the_command_line_or_in_the_environment(gatebench):
    words = ["sweep", "--url", "http://10.0.0.1/v1", *SMALL, "--dry-run"]
    assert gatebench(*words, "--allow-host", "10.0.0.1").code == 0
    assert gatebench(*words, GATEBENCH_ALLOWED_HOSTS="10.0.0.1").code == 0


@pytest.mark.parametrize(
    "text",
    [
        'allowed_hosts = ["10.0.0.1"]\n[[targets]]\nurl = "http://10.0.0.1/v1"\nmodel = "m"\n',
        '[[targets]]\nurl = "http://10.0.0.1/v1"\nmodel = "m"\n',
        f'[[targets]]\nurl = "{HERE}"\nmodel = "m"\n[control]\nurl = "http://10.0.0.1/v1"\n',
    ],
)
def test_a_plan_cannot_allow_a_host(gatebench, tmp_path, text):
    (tmp_path / "p.toml").write_text(text)
    done = gatebench("nightly", "--plan", tmp_path / "p.toml")
    assert done.code == 2
    assert "unknown key 'allowed_hosts'" in done.sentence or "10.0.0.1 is not this machine" in done.sentence


def test_a_change_on_the_command_line_cannot_allow_a_host(gatebench):
    for change in ("targets.0.url=http://10.0.0.1/v1", "control.url=http://10.0.0.1/v1"):
        done = gatebench("load", "--url", HERE, "--model", "m", "--set", change)
        assert (done.code, "10.0.0.1 is not this machine" in done.sentence) == (2, True)


async def test_a_flow_parameter_cannot_allow_a_host():
    there = TargetForm(url="http://10.0.0.1/v1")
    asked = [load.fn(target=there), sweep.fn(target=there), replay.fn(target=there)]
    asked += [load.fn(overrides=["targets.0.url=http://10.0.0.1/v1"])]
    for call in asked:
        state = await call
        assert state.is_failed()
        assert "10.0.0.1 is not this machine, and nobody allowed it" in state.message


def test_a_target_is_asked_before_a_prefect_server_is(gatebench):
    url = f"http://127.0.0.1:{unused_port()}/v1"
    done = gatebench("load", "--url", url, "--model", "m", PREFECT_API_URL=f"http://127.0.0.1:{unused_port()}/api")
    assert done.code == 13
    assert done.sentence.startswith(f"nothing answers at {url} (ConnectError")


# --- budgets


PRICED = 'name = "p"\n[[targets]]\nname = "gw"\nurl = "{url}"\nmodel = "m"\n[prices.m]\ninput = 1.0\noutput = 10.0\n'


def test_a_run_that_is_plainly_over_its_budget_sends_nothing(gatebench):
    with SimulatorProcess(SimConfig(slots=0, service_ms=1)) as simulator:
        words = ["load", "--url", simulator.url, "--model", "m", "--rate", "20", "--duration", "60s"]
        done = gatebench(*words, "--set", "budget.wall_s=20")
        assert simulator.stats()["requests"] == 0
    assert (done.code, done.out) == (15, "")
    assert done.sentence.startswith("this run is forecast to take 62 s, its budget is 20 s; it is not begun.")


def test_a_budget_of_requests_ends_a_load_exactly_there_and_its_cost_is_told(gatebench, tmp_path):
    with SimulatorProcess(SimConfig(slots=0, service_ms=1)) as simulator:
        words = ["load", "--url", simulator.url, "--model", "m", "--rate", "50", "--duration", "10s", "--no-stream"]
        changes = ["--set", "budget.requests=70", "--set", "prices.m.output=10"]
        done = gatebench(*words, *changes, "--quiet", "--json", tmp_path / "l.json")
        asked = simulator.stats()["requests"]
    assert done.code == 15, done.err
    found = json.loads((tmp_path / "l.json").read_text())
    assert found["cost"]["requests"] == 70
    assert asked <= 75  # with the few that ask whether anybody is there, and how tokens are counted
    assert found["cost"]["usd"] == pytest.approx(found["cost"]["output_tokens"] * 10 / 1e6)
    (trial,) = found["trials"]
    assert (trial["validity"], trial["reasons"][0]) == ("invalid", "budget: 70 requests")


def test_a_budget_that_is_used_up_between_two_legs_leaves_the_rest_out(gatebench, tmp_path):
    with SimulatorProcess(SimConfig(slots=0, service_ms=1)) as simulator:
        (tmp_path / "p.toml").write_text(PRICED.format(url=simulator.url))
        words = ["sweep", "--plan", tmp_path / "p.toml", "--requests", "20", "--concurrency", "1", "--blocks", "5"]
        done = gatebench(*words, "--no-control", "--set", "budget.requests=10", "--json", tmp_path / "s.json")
    assert done.code == 15
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["cost"]["requests"] == 10
    assert found["headline"].startswith("Stopped early (budget: 10 requests) after ")
    assert [shape["stream"] for shape in found["instrument"]["shapes"]] == [True]


# --- plans and options


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[swep]\n", "unknown key 'swep'; did you mean 'sweep'?"),
        ("[sweep]\nlevles = [1]\n", "unknown key 'sweep.levles'; did you mean 'levels'?"),
        ("[sweep\n", "not TOML"),
        ('slos = ["p95 < 1s"]\n', "write it like 'p95(latency) < 500ms'"),
    ],
)
def test_a_plan_with_a_mistake_is_told_where_and_what_was_meant(gatebench, tmp_path, text, said):
    plan = tmp_path / "p.toml"
    plan.write_text(text + '[[targets]]\nurl = "http://127.0.0.1:1/v1"\nmodel = "m"\n')
    done = gatebench("nightly", "--plan", plan, "--dry-run")
    assert done.code == 2
    assert done.sentence.startswith(f"{plan}: ")
    assert said in done.sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nightly", "--plan", "no.toml"], "no plan at no.toml; `gatebench init` writes one"),
        (["sweep"], "which target? give --url"),
        (["sweep", "--url", HERE, "--concurrency", "1,100", "--requests", "100"], "use requests = 1000"),
        (["sweep", "--url", HERE, "--concurrency", "one"], "write it like 1,10,50,100"),
        (["sweep", "--url", HERE, "--blocks", "0"], "blocks: Input should be greater than or equal to 1"),
        (["sweep", "--url", "127.0.0.1:1/v1"], "is not an http(s) URL"),
        (["replay", "no.parquet", "--url", HERE], "no workload 'no.parquet'"),
        (["load", "--url", HERE, "--rate", "0"], "rate_rps: Input should be greater than 0"),
        (["load", "--url", HERE, "--arrivals", "gamma"], "gamma needs cv"),
        (["load", "--url", HERE, "--steps", "ten"], "as in 10:30s,50:1m"),
        (["load", "--url", HERE, "--think", "3s"], "needs sessions = true"),
        (["load", "--url", HERE, "--on-full", "wait"], "'queue', 'drop' or 'abort'"),
        (["show", "yesterday"], "no run"),
        (["baseline", "accept"], "give a RUN, or --workload"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["sweep", "--requests", "many"], "--requests"),
    ],
)
def test_a_command_that_cannot_be_meant(gatebench, words, said):
    done = gatebench(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.sentence


def test_a_setting_that_makes_no_sense_is_named_as_its_variable(gatebench):
    done = gatebench("runs", GATEBENCH_FLUSH_S="-1")
    assert (done.code, "GATEBENCH_FLUSH_S" in done.sentence) == (2, True)


def test_a_prefect_server_that_does_not_answer(alone, tmp_path):
    url = f"http://127.0.0.1:{unused_port()}/api"
    done = alone("capture", SAMPLE, "--out", tmp_path / "w.parquet", PREFECT_API_URL=url)
    assert done.code == 2
    assert done.sentence == f"no Prefect server answers at {url}; start it, or unset PREFECT_API_URL to do without"


# --- the book and the disk


def test_a_fine_command_says_nothing_on_stderr(alone, book):
    done = alone("runs", GATEBENCH_HOME=str(book.parent))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("no runs yet")


def test_a_book_that_another_process_holds(gatebench, held):
    where = {"GATEBENCH_HOME": str(held.parent), "GATEBENCH_BOOK_WAIT_S": "0.3"}
    for words in (["runs"], ["show", "last"], ["baseline", "show"]):
        done = gatebench(*words, **where)
        assert (done.code, done.out) == (16, "")
        assert done.sentence.startswith(f"the book {held} is held by process ")


def test_a_run_that_cannot_write_its_book_sends_no_load(gatebench, held):
    where = {"GATEBENCH_HOME": str(held.parent), "GATEBENCH_BOOK_WAIT_S": "0.3"}
    with SimulatorProcess(SimConfig(slots=0, service_ms=1)) as simulator:
        done = gatebench("sweep", "--url", simulator.url, *SMALL, **where)
        asked = simulator.stats()["requests"]
    assert (done.code, asked) == (16, 1), done
    assert "is held by process" in done.sentence


def test_a_book_of_a_newer_gatebench(gatebench, book):
    with duckdb.connect(str(book)) as con:
        con.execute("insert into schema_migrations values (999, '0999_future', '')")
    before = book.read_bytes()
    done = gatebench("runs", GATEBENCH_HOME=str(book.parent))
    assert (done.code, done.out) == (16, "")
    assert "has schema 999" in done.sentence
    assert "upgrade, or use another GATEBENCH_HOME" in done.sentence
    assert book.read_bytes() == before


def test_a_book_that_is_something_else(gatebench, tmp_path):
    (tmp_path / "gatebench.duckdb").write_text("my poems")
    done = gatebench("runs", GATEBENCH_HOME=str(tmp_path))
    assert (done.code, "is damaged or no gatebench book; `gatebench rebuild`" in done.sentence) == (16, True)
    assert (tmp_path / "gatebench.duckdb").read_text() == "my poems"


def in_own_file_system(*words: str | Path) -> list[str]:
    """Words of a command that may mount what nobody else sees; skips where this user may not."""
    may = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(may, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs unshare and mount for a small file system of its own")
    return ["unshare", "-rm", *map(str, words)]


def test_too_little_room_is_said_before_anything_is_measured(env, place, tmp_path):
    shell = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" -m flows.cli capture "$3" --out "$1/w" --home "$1/home"'
    words = in_own_file_system("sh", "-c", shell, "sh", tmp_path, sys.executable, SAMPLE)
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=place, check=False)
    assert done.returncode == 16
    assert Done(16, done.stdout, done.stderr).sentence.startswith(f"no space left in {tmp_path / 'home'}: ")


@pytest.mark.server
def test_a_disk_that_fills_in_the_middle_keeps_what_was_finished(env, place, tmp_path):
    with SimulatorProcess(SimConfig(slots=0, service_ms=2)) as simulator:
        words = in_own_file_system("sh", "-c", FILL, "sh", tmp_path, sys.executable, simulator.url)
        done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=place, check=False)
    code, legs, rest = done.stdout.split("\n", 2)
    assert code == "code 16", done.stderr
    assert "no space left" in Done(16, "", done.stderr).sentence.lower()  # for the book or for samples: what came first
    assert 1 <= int(legs.removeprefix("legs ")) < 10
    (run,) = json.loads(rest)["runs"]
    assert run["status"] == "failed"  # closed by the run itself, not by the next command


@pytest.mark.server
def test_a_command_with_a_server_of_its_own_leaves_stderr_empty(bare, place, tmp_path):
    words = [*COMMAND, "capture", str(SAMPLE), "--out", str(tmp_path / "w.parquet"), "--quiet"]
    home = {**bare, "GATEBENCH_HOME": str(tmp_path / "home")}
    done = subprocess.run(words, capture_output=True, text=True, env=home, cwd=place, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "w.parquet").is_file()


@pytest.mark.server
def test_ctrl_c_keeps_what_was_measured_and_says_so(bare, place, tmp_path):
    home = {**bare, "GATEBENCH_HOME": str(tmp_path / "home")}
    with SimulatorProcess(SimConfig(slots=0, service_ms=5)) as simulator:
        words = [*COMMAND, "sweep", "--url", simulator.url, "--concurrency", "1", "--requests", "5000", "--no-control"]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=home, cwd=place
        )
        deadline = time.monotonic() + 90
        while not list(tmp_path.glob("home/runs/*/first-b*/part-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    (folder,) = tmp_path.glob("home/runs/*")
    kept = f"what was measured so far is kept: gatebench show {folder.name}, gatebench resume {folder.name}"
    assert err.splitlines()[-1] == f"gatebench: interrupted; {kept}"
    assert "Traceback" not in err
    listed = subprocess.run([*COMMAND, "runs", "--json", "-"], capture_output=True, text=True, env=home, check=True)
    (run,) = json.loads(listed.stdout)["runs"]
    assert (run["status"], run["exit_code"]) == ("cancelled", 130)
    assert list(tmp_path.glob("home/runs/*/first-b*/part-*"))
