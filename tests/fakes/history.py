"""An empty Prefect history, laid out once for all tests: its migrations are half of a server's first start."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployments.local import HARDENED, server, unused_port
from storage.disk import make_folder

NAME = "prefect.db"


def laid_out(home: Path, places: pytest.TempPathFactory) -> Path:
    """The data root, in which a server finds its history laid out and empty."""
    shutil.copy(_model(places) / NAME, make_folder(home / "prefect") / NAME)
    return home


@contextmanager
def quiet_server(home: Path, places: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server without services, for commands with data roots of their own: what these need to know of it."""
    with server(laid_out(home, places), unused_port(), services=False) as env:
        yield {name: env[name] for name in ("PREFECT_HOME", "PREFECT_API_URL", *HARDENED)}


def _model(places: pytest.TempPathFactory) -> Path:
    """Made by whichever process of these tests is first."""
    base = places.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect-history"
    make_folder(folder)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            bare = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GATEBENCH_"))}
            command = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(command, env={**bare, "PREFECT_HOME": str(folder)}, check=True, capture_output=True)
            (folder / "done").touch()
    return folder
