"""Which format a log is in, decided by its content."""

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

import orjson

from storage.errors import UsageError
from tasks.workload.formats.adapter import Adapter
from tasks.workload.formats.aiperf import AIPerf
from tasks.workload.formats.azure import Azure
from tasks.workload.formats.burstgpt import BurstGPT
from tasks.workload.formats.caddy import Caddy
from tasks.workload.formats.envoy import Envoy
from tasks.workload.formats.helicone import Helicone
from tasks.workload.formats.langfuse import Langfuse
from tasks.workload.formats.litellm import LiteLLM
from tasks.workload.formats.mooncake import Mooncake
from tasks.workload.formats.nginx import Nginx
from tasks.workload.formats.openai import OpenAI
from tasks.workload.formats.otlp import OTLP
from tasks.workload.formats.portkey import Portkey
from tasks.workload.formats.portkey_stream import PortkeyStream
from tasks.workload.formats.spend_logs import SpendLogs
from tasks.workload.secrets import opaque, secret_in

GROUP = "gatebench.formats"  # entry points of packages that bring their own format: NAME = module:AdapterClass
# The most telling first: of several that recognise a file, the first reads it.
ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {
        adapter.name: adapter
        for adapter in (
            LiteLLM(),
            SpendLogs(),
            OTLP(),
            Azure(),
            BurstGPT(),
            Mooncake(),
            AIPerf(),  # after Mooncake: it takes the same fields and more
            Caddy(),
            Envoy(),
            Nginx(),
            Helicone(),
            Langfuse(),
            Portkey(),
            PortkeyStream(),
            OpenAI(),  # last: it takes many names
        )
    }
)  # fmt: skip
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}")


class UnknownFormat(UsageError):
    """A file that no adapter recognises. `what` is found in it."""

    def __init__(self, where: str, what: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known))
        super().__init__(f"{where}: {what}, which is no known log format; known are {names}, and any table by --map")
        self.what = what


@cache
def adapters() -> Mapping[str, Adapter]:
    """Those of installed packages first, for they were installed on purpose, then ours. Raises UsageError."""
    brought = {entry.name: _load(entry) for entry in entry_points(group=GROUP)}
    for name in sorted(brought.keys() & ADAPTERS.keys()):
        raise UsageError(f"an installed package brings a log format called {name!r}, which gatebench has itself")
    return MappingProxyType({**brought, **ADAPTERS})


def _load(entry: EntryPoint) -> Adapter:
    package = "a package" if entry.dist is None else f"the package {entry.dist.name}"
    try:
        adapter: Adapter = entry.load()()
    except Exception as error:
        raise UsageError(
            f"{package} brings the log format {entry.name!r}, which cannot be loaded "
            f"({type(error).__name__}: {error}); mend or uninstall it"
        ) from error
    missing = [name for name in ("name", "arrival_basis", "recognises", "read") if not hasattr(adapter, name)]
    if missing:
        raise UsageError(f"{package} brings the log format {entry.name!r}, whose adapter has no {', '.join(missing)}")
    return adapter


def choose(format: str, head: Sequence[bytes], where: str) -> Adapter:
    """The adapter called `format`, or with "auto" the one that recognises the first lines of the file `where`.

    Raises UsageError for a name nobody knows, UnknownFormat where none recognises the file; that says what stands in
    it instead.
    """
    known = adapters()
    if format != "auto":
        if format not in known:
            raise UsageError(f"unknown log format {format!r}; known are auto, {', '.join(sorted(known))}")
        return known[format]
    for adapter in known.values():
        if adapter.recognises(head):
            return adapter
    number, found = _found(head)
    raise UnknownFormat(where, f"line {number} holds {found}", known)


def _found(head: Sequence[bytes]) -> tuple[int, str]:
    """The first line that says something, and what it is, without quoting it."""
    number, line = next(((n, line) for n, line in enumerate(head, 1) if line.strip()), (1, b""))
    if line.startswith(b"PAR1"):
        return number, "a Parquet file (a workload needs no capture)"
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return number, "UTF-16 text (`iconv -f UTF-16 -t UTF-8 FILE` makes UTF-8 of it)"
    if b"\0" in line:
        return number, "binary data"
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return number, "comma-separated text" if line.count(b",") >= 2 and b"{" not in line else "text that is not JSON"
    if not isinstance(value, dict):
        return number, "JSON that is not an object"
    names = [name for name in value if FIELD_NAME.fullmatch(name) and not (secret_in(name) or opaque(name))][:6]
    return number, f"a JSON object with the fields {', '.join(names)}" if names else "a JSON object"
