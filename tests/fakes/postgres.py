"""A Postgres of one's own: Debian's programs, a fresh cluster in a folder, a free port, an ordinary user."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deployments.local import unused_port


def programs() -> Path | None:
    """Where initdb and postgres are; None: nowhere."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """`postgresql+asyncpg://…` of an empty database."""
    where = programs()
    assert where is not None
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="gb-postgres-"))
    try:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        port = unused_port()
        (folder / "pw").write_text("secret\n")
        (folder / "pw").chmod(0o644)
        make = ["initdb", "-D", "data", "-U", "prefect", "-A", "scram-sha-256", "--pwfile", "pw", "--no-sync"]
        _run([str(where / make[0]), *make[1:]], folder, user)
        run = ["postgres", "-D", "data", "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(where / run[0]), *run[1:]], cwd=folder, user=user, stdout=log, stderr=log, env=_env(folder)
            )
        try:
            _until_ready(folder / "log", process)
            yield f"postgresql+asyncpg://prefect:secret@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()  # waits for its clients
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Postgres refuses to run as root."""
    return None if os.getuid() else "postgres" if _known("postgres") else "nobody"


def _known(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def _env(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _run(command: list[str], folder: Path, user: str | None) -> None:
    done = subprocess.run(command, cwd=folder, user=user, env=_env(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _until_ready(log: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while "ready to accept connections" not in log.read_text(errors="replace"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)
