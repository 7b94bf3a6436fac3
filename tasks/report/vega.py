"""Vega, Vega-Lite and their embedding as one script, from the installed package: about 0.9 MB, no request.

Bundling them takes a second and more of CPU, and a report is often all that a process draws: the script is kept in the
user's cache folder, by the version of the package.
"""

import contextlib
import functools
import os
from importlib.metadata import version
from pathlib import Path

import vl_convert as vlc
from markupsafe import Markup

from storage.disk import write_aside
from storage.errors import StorageError

OTHERS_MAY_WRITE = 0o022
CALLED = "window.vegaEmbed"  # by the page that the script stands in


def folder() -> Path | None:
    """Where what can be made again is kept (XDG Base Directory Specification); None for a user without a home."""
    said = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(said) if said.startswith("/") else Path.home() / ".cache") / "gatebench"
    except RuntimeError:
        return None


@functools.cache
def script(kept: Path | None) -> Markup:
    """The script, as the folder holds it; bundled, and kept there if that can be, where it does not."""
    file = None if kept is None else kept / f"vega-{version('vl-convert-python')}.js"
    text = None if file is None else _ours(file)
    if text is None:
        text = vlc.javascript_bundle(f"{CALLED} = vegaEmbed;")
        with contextlib.suppress(StorageError):  # a folder that cannot be written to only costs the second again
            if file is not None:
                write_aside(file, text)
    return Markup(text)  # noqa: S704 - our own dependency, not data


def _ours(file: Path) -> str | None:
    """The script in it, unless somebody else could have written it: it becomes part of every report."""
    try:
        with file.open(encoding="utf-8") as held:
            facts = os.fstat(held.fileno())
            if facts.st_uid != os.getuid() or facts.st_mode & OTHERS_MAY_WRITE:
                return None
            text = held.read()
            return text if CALLED in text else None
    except (OSError, UnicodeDecodeError):
        return None
