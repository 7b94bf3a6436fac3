"""What a user is told of errors that come out of a flow."""

import asyncio
import errno
from pathlib import Path

import httpx
import pytest
from prefect.exceptions import CancelledRun, CrashedRun, TerminationSignal
from prefect.flow_engine import FlowRunTimeoutError

from flows.crossing import told
from storage.errors import BookLocked, GatebenchError, Interrupted, NothingMeasured, StorageError, TargetError

API = "http://127.0.0.1:4200/api"
HOME = Path("/data")


def code(error: BaseException) -> int | None:
    said = told(error, API, HOME)
    return said.exit_code if isinstance(said, GatebenchError) else None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BookLocked("held"), 16),
        (CancelledRun("by somebody"), 130),
        (asyncio.CancelledError(), 130),
        (TerminationSignal(signal=15), 130),
        (FlowRunTimeoutError("21600 s"), 15),
        (CrashedRun("Flow run crashed"), 2),
        (httpx.ConnectError("refused"), 2),
        (httpx.ReadTimeout(""), 2),
        (OSError(errno.ENOSPC, "No space left on device", "/data/runs/part"), 16),
        (ExceptionGroup("tasks", [NothingMeasured("none"), BookLocked("held")]), 14),
        (ExceptionGroup("tasks", [BookLocked("held"), ExceptionGroup("inner", [TargetError("gone")])]), 13),
    ],
)
def test_what_the_world_did_is_one_sentence_with_a_code_of_the_contract(error, expected):
    assert code(error) == expected
    assert len(str(told(error, API, HOME)).splitlines()) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyboardInterrupt(), OSError(errno.EBADF, "bad")])
def test_a_bug_of_ours_and_ctrl_c_stay_what_they_are(error):
    assert told(error, API, HOME) is error


def test_a_bug_is_not_hidden_behind_what_the_world_did():
    bug = ValueError("ours")
    assert told(ExceptionGroup("tasks", [BookLocked("held"), bug]), API, HOME) is bug


def test_a_prefect_server_that_went_away_is_named_with_what_to_do():
    said = str(told(httpx.ConnectError("All connection attempts failed"), API, HOME))
    assert said.startswith(f"the Prefect server at {API} did not do its part (ConnectError: All connection attempts")
    assert "what was measured so far is kept; is the server up" in said


def test_a_full_disk_names_the_file():
    said = told(OSError(errno.EDQUOT, "Quota exceeded", "/data/runs/part"), API, HOME)
    assert isinstance(said, StorageError)
    assert "no space left to write /data/runs/part" in str(said)
    assert isinstance(told(CancelledRun(""), API, HOME), Interrupted)
