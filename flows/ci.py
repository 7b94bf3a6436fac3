"""What continuous integration reads of a run: JUnit XML where it was asked for, and GitHub's step summary where there
is one. Neither can fail a measurement that is done: what cannot be written is said on stderr."""

import os
import sys
from pathlib import Path

from storage.disk import give
from storage.errors import StorageError
from tasks.report.junit import error_xml, junit_xml
from tasks.report.markdown import render_error, render_markdown
from tasks.report.view import RunView

SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that a step of a GitHub workflow appends Markdown to
LARGEST = 1_000_000  # bytes; GitHub drops a summary above 1 MiB


def wanted(junit: Path | None) -> bool:
    """Does anybody read it?"""
    return junit is not None or bool(os.environ.get(SUMMARY))


def tell_run(view: RunView, junit: Path | None) -> None:
    """A run that was measured."""
    if junit is not None:
        _write(junit, junit_xml(view))
    _summarise(render_markdown(view, charts=False))


def tell_error(name: str, said: str, junit: Path | None) -> None:
    """A run without a result: one case that could not be judged."""
    if junit is not None:
        _write(junit, error_xml(name, said))
    _summarise(render_error(name, said))


def _write(path: Path, text: str) -> None:
    try:
        give(path, text)
    except StorageError as error:
        sys.stderr.write(f"gatebench: {error}\n")


def _summarise(text: str) -> None:
    """At the end of what other commands of the step have said."""
    place = os.environ.get(SUMMARY)
    if not place:
        return
    path, raw = Path(place), text.encode()
    try:
        used = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(raw if used + len(raw) <= LARGEST else b"gatebench: the summary of this step is full\n")
    except OSError as error:
        sys.stderr.write(f"gatebench: cannot write the step summary {path} ({error.strerror}); the run is kept\n")
