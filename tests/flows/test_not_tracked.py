import os
import subprocess
import sys
from pathlib import Path


def test_no_command_tells_prefects_makers_of_itself(tmp_path: Path) -> None:
    asked = (
        "from flows.cli import run; run(['--version']); "
        "from prefect._internal.analytics import is_telemetry_enabled; "
        "import os; print(os.environ['DO_NOT_TRACK'], is_telemetry_enabled())"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "DO_NOT_TRACK")}
    found = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout.split()[-2:] == ["1", "False"]
