"""A night's new logs: read once, pinned the first time, held against the pin from then on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from config.plan import Plan
from flows.intake import take_in
from flows.listen import LISTENER, Under
from storage.errors import UsageError
from storage.store import Book
from tasks.capture import CapturedFile, capture_to
from tasks.workload.trace import read as read_workload

T0 = 1_795_502_991.0


def line(at: float, tokens: int, model: str = "chat") -> str:
    """A successful call as LiteLLM logs it."""
    return json.dumps(
        {
            "litellm_call_id": f"call-{at}-{tokens}",
            "call_type": "acompletion",
            "status": "success",
            "stream": True,
            "startTime": T0 + at,
            "endTime": T0 + at + 0.5,
            "completionStartTime": T0 + at + 0.1,
            "model": model,
            "model_group": model,
            "prompt_tokens": tokens,
            "completion_tokens": 20,
            "cache_hit": None,
            "end_user": None,
            "messages": [],
            "model_parameters": {"stream": True},
            "metadata": {},
            "error_information": {"error_code": "", "error_class": ""},
        }
    )


def log(path: Path, begin: float, tokens: int = 100, requests: int = 200) -> Path:
    path.write_text("".join(line(begin + k, tokens + k % 50) + "\n" for k in range(requests)))
    return path


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, leg: Under) -> None:
        """No leg is measured here."""

    def end(self, done: int, total: int) -> None:
        """No leg is measured here."""


@pytest.fixture
def said() -> Iterator[Said]:
    listener = Said()
    token = LISTENER.set(listener)
    with disable_run_logger():
        yield listener
    LISTENER.reset(token)


async def read(
    sources: list[str], out: str, format: str, privacy: str, mapping: str | None, spread_seed: int | None
) -> CapturedFile:
    return capture_to(sources, Path(out), format=format, privacy=privacy, mapping=mapping, spread_seed=spread_seed)


@pytest.fixture
def night(tmp_path: Path, make: Callable[..., Plan], said: Said) -> Callable[[], Any]:
    """A night of a plan that captures the folder `logs`; `night()` is what it took in."""
    (tmp_path / "logs").mkdir()
    plan = make(name="mine", capture={"sources": [str(tmp_path / "logs")]})
    book = Book(tmp_path / "book.duckdb")

    async def take() -> Any:
        nights = len(list(tmp_path.glob("night-*")))
        taken = await take_in(plan, "mine", book, tmp_path / f"night-{nights}", read)
        return taken, book.pinned("mine")

    return take


async def test_the_first_capture_is_pinned_and_nothing_is_read_twice(night, tmp_path, said):
    log(tmp_path / "logs" / "a.jsonl", 0)
    taken, pinned = await night()
    assert taken.captured.kept == 200 and taken.reports == []
    assert pinned.workload_id == taken.captured.workload_id
    again, still = await night()
    assert again.captured is None and still == pinned
    assert said.lines[-1] == "no new logs since the last capture"


async def test_new_logs_alone_are_captured_and_like_traffic_leaves_the_pin_in_peace(night, tmp_path, said):
    log(tmp_path / "logs" / "a.jsonl", 0)
    _, pinned = await night()
    log(tmp_path / "logs" / "b.jsonl", 86_400)
    taken, still = await night()
    assert taken.captured.kept == 200
    assert read_workload(taken.captured.path).header.sources[0].name == "b.jsonl"
    assert [report["about"] for report in taken.reports] == ["new traffic"] and taken.reports[0]["ok"]
    assert still == pinned
    assert said.lines[-1].startswith("new traffic is like the pinned workload")


async def test_traffic_that_moved_is_warned_of_with_the_command_that_repins(night, tmp_path, said):
    log(tmp_path / "logs" / "a.jsonl", 0)
    _, pinned = await night()
    log(tmp_path / "logs" / "b.jsonl", 86_400, tokens=2000)
    taken, still = await night()
    assert not taken.reports[0]["ok"] and still == pinned
    command = f"gatebench baseline accept --workload {taken.captured.path} --name mine"
    assert f"the workload has moved: re-pin with `{command}`" in said.lines[-1]
    assert "sizes in and out, joint KS" in said.lines[-1]


async def test_only_the_last_day_of_new_traffic_is_compared(night, tmp_path):
    log(tmp_path / "logs" / "a.jsonl", 0)
    await night()
    log(tmp_path / "logs" / "b.jsonl", 86_400, tokens=2000)
    log(tmp_path / "logs" / "c.jsonl", 5 * 86_400)
    taken, _ = await night()
    assert taken.captured.kept == 400
    assert taken.reports[0]["counts"] == (200, 200) and taken.reports[0]["ok"]


async def test_a_log_that_cannot_be_read_stops_no_night_that_has_a_pin(night, tmp_path, said):
    (tmp_path / "logs" / "notes.txt").write_text("not a log\n")
    with pytest.raises(UsageError):
        await night()
    log(tmp_path / "logs" / "a.jsonl", 0)
    (tmp_path / "logs" / "notes.txt").unlink()
    await night()
    (tmp_path / "logs" / "more.txt").write_text("no log either\n")
    taken, _ = await night()
    assert taken.captured is None and "the pinned workload stands" in said.lines[-1]
    assert taken.reports[0]["about"] == "capture" and not taken.reports[0]["ok"]


async def test_a_log_without_a_request_is_read_once_and_stops_no_night_that_has_a_pin(night, tmp_path, said):
    log(tmp_path / "logs" / "a.jsonl", 0)
    await night()
    embedding = json.loads(line(5, 10)) | {"call_type": "aembedding"}
    (tmp_path / "logs" / "b.jsonl").write_text(json.dumps(embedding) + "\n")
    taken, _ = await night()
    assert taken.captured is None and "the pinned workload stands" in said.lines[-1]
    assert (await night())[0].captured is None and said.lines[-1] == "no new logs since the last capture"


async def test_logs_that_are_gone_stop_no_night_that_has_a_pin(night, tmp_path, said):
    with pytest.raises(UsageError, match="no log in the folder"):
        await night()
    file = log(tmp_path / "logs" / "a.jsonl", 0)
    await night()
    file.unlink()
    assert (await night())[0].captured is None
    assert said.lines[-1].startswith("no new traffic, the pinned workload stands: no log in the folder")


async def test_a_plan_reads_a_table_of_ones_own_and_spreads_its_coarse_stamps_the_same_way_each_time(
    tmp_path, make, said
):
    table = tmp_path / "calls.csv"
    table.write_text("at,deployment,sent\n" + "".join(f"{T0 + k // 20 * 2:.0f},chat,{k}\n" for k in range(400)))
    wanted = {"sources": [str(table)], "map": "time=at,model=deployment,input_tokens=sent", "spread": True}
    plan = make(name="mine", capture=wanted)
    found = []
    for name in ("a", "b"):
        taken = await take_in(plan, "mine", Book(tmp_path / f"{name}.duckdb"), tmp_path / name, read)
        found.append(read_workload(Path(taken.captured.path)).frame)
    assert found[0].equals(found[1])
    assert found[0]["input_tokens"].sort().to_list() == list(range(400))
    assert found[0]["offset_ns"].n_unique() == 400
