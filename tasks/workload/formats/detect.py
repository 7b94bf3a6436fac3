"""Which format a log is in, decided by its content."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import orjson

from storage.errors import UsageError
from tasks.workload.formats.adapter import Adapter
from tasks.workload.formats.litellm import LiteLLM

ADAPTERS: Mapping[str, Adapter] = MappingProxyType({adapter.name: adapter for adapter in (LiteLLM(),)})
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}")


def choose(format: str, head: Sequence[bytes], where: str) -> Adapter:
    """The adapter called `format`, or with "auto" the one that recognises the first lines of the file `where`.

    Raises UsageError where there is none; it says what stands in the file instead.
    """
    known = ", ".join(sorted(ADAPTERS))
    if format != "auto":
        if format not in ADAPTERS:
            raise UsageError(f"unknown log format {format!r}; known are auto, {known}")
        return ADAPTERS[format]
    for adapter in ADAPTERS.values():
        if adapter.recognises(head):
            return adapter
    number, found = _found(head)
    raise UsageError(f"{where}: line {number} holds {found}, which is no known log format; known are {known}")


def _found(head: Sequence[bytes]) -> tuple[int, str]:
    """The first line that says something, and what it is, without quoting it."""
    number, line = next(((n, line) for n, line in enumerate(head, 1) if line.strip()), (1, b""))
    if line.startswith(b"PAR1"):
        return number, "a Parquet file (a workload needs no capture)"
    if b"\0" in line:
        return number, "binary data"
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return number, "comma-separated text" if line.count(b",") >= 2 and b"{" not in line else "text that is not JSON"
    if not isinstance(value, dict):
        return number, "JSON that is not an object"
    names = [name for name in value if FIELD_NAME.fullmatch(name)][:6]
    return number, f"a JSON object with the fields {', '.join(names)}" if names else "a JSON object"
