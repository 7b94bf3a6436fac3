"""Arrivals -> HTTP requests, as bytes that are ready before they are due."""

import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import orjson
import polars as pl

from storage.errors import UsageError
from tasks.load.prompts import Prompts, salt_words
from tasks.load.spec import LegSpec, TargetSpec
from tasks.load.wire import Origin

DEFAULT_INPUT = 64
DEFAULT_OUTPUT = 16
_FIRST_TEXT = re.compile(rb'"(?:content|text)":"')
_OPTIONAL = ("session", "duration_ns", "prefix_blocks", "messages")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The columns of a workload that decide what is sent, as lists of equal length."""

    offset_ns: list[int]
    model: list[str]
    input_tokens: list[int]
    output_tokens: list[int]
    stream: list[bool]
    session: list[str | None] | None = None  # None here and below: the workload has no such column
    duration_ns: list[int | None] | None = None
    prefix_blocks: list[list[int] | None] | None = None
    messages: list[str | None] | None = None  # the prompts themselves, as JSON
    block_tokens: int | None = None

    @classmethod
    def read(cls, path: str) -> "Arrivals":
        try:
            frame = pl.read_parquet(path).sort("offset_ns", maintain_order=True)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UsageError(f"cannot read the workload {path}: {error}") from None
        if frame.is_empty():
            raise UsageError(f"the workload {path} holds no arrivals")
        # The recorded output, where known, bounds the answer: the client's own cap is often far above what came.
        output = pl.coalesce("output_tokens", "max_output_tokens", pl.lit(DEFAULT_OUTPUT)).clip(lower_bound=1)
        return cls(
            frame["offset_ns"].to_list(),
            frame["model"].to_list(),
            frame["input_tokens"].fill_null(DEFAULT_INPUT).to_list(),
            frame.select(output)["output_tokens"].to_list(),
            frame["stream"].to_list(),
            **{name: _column(frame, name) for name in _OPTIONAL},
            block_tokens=_block_tokens(path) if "prefix_blocks" in frame.columns else None,
        )

    def __len__(self) -> int:
        return len(self.offset_ns)


def _column(frame: pl.DataFrame, name: str) -> Any:
    """Its values; None where the workload has no such column, or nothing in it."""
    if name not in frame.columns or frame[name].null_count() == len(frame):
        return None
    return frame[name].to_list()


def _block_tokens(path: str) -> int | None:
    header = pl.read_parquet_metadata(path).get("gatebench")
    told = orjson.loads(header).get("block_tokens") if header else None
    return told if isinstance(told, int) else None


class Prepared(NamedTuple):
    """One request, ready to write."""

    payload: bytes
    model: str
    stream: bool


class Requests:
    """Makes the request of an arrival for one target. A few microseconds each, always one ahead of the sending."""

    def __init__(self, spec: LegSpec, arrivals: Arrivals) -> None:
        target = spec.target
        self.origin, self._head = _head(target)
        self._arrivals = arrivals
        self._stream = spec.stream
        self._target = target
        salt = f"{spec.run_id}/{spec.attempt}/{spec.block}/{target.name}/{spec.series}/{spec.level}"
        self._salt = salt_words(salt) + b" "
        self._prompts = Prompts(
            spec.seed, salt, tokens_per_word=spec.tokens_per_word, block_tokens=arrivals.block_tokens
        )
        self._shapes: dict[tuple[str, bool], tuple[bytes, bool, bytes]] = {}

    def make(self, seq: int, index: int) -> Prepared:
        """The request for arrival `index`, as the leg's request number `seq` (which picks its text)."""
        arrivals = self._arrivals
        model = self._target.models.get(arrivals.model[index], self._target.model)
        stream = arrivals.stream[index] if self._stream is None else self._stream
        shape = self._shapes.get((model, stream))
        if shape is None:
            shape = self._shapes[model, stream] = _shape(self._target, model, stream)
        before, limited, after = shape
        limit = b"%d" % arrivals.output_tokens[index] if limited else b""
        body = b"%s%s%s%s}" % (before, limit, after, self._messages(seq, index))
        return Prepared(b"%s%d\r\n\r\n%s" % (self._head, len(body), body), model, stream)

    def _messages(self, seq: int, index: int) -> bytes:
        """The recorded messages where the workload has them, with the salt before the first; else words that count."""
        arrivals = self._arrivals
        if arrivals.messages is not None and (kept := arrivals.messages[index]) is not None:
            return _salted(kept, self._salt)
        blocks = None if arrivals.prefix_blocks is None else arrivals.prefix_blocks[index]
        text = self._prompts.text(seq, arrivals.input_tokens[index], blocks)
        return b'[{"role":"user","content":"%s"}]' % text  # needs no escaping


def _shape(target: TargetSpec, model: str, stream: bool) -> tuple[bytes, bool, bytes]:
    """The body up to its token limit, whether that is ours to set (`extra_body` may have), and on to the messages."""
    head: dict[str, object] = {"model": model, "stream": stream}
    if stream:
        head["stream_options"] = {"include_usage": True}
    before = orjson.dumps(head | target.extra_body)[:-1]
    if target.token_param in target.extra_body:
        return before, False, b',"messages":'
    return before + b"," + orjson.dumps(target.token_param) + b":", True, b',"messages":'


def _salted(messages: str, salt: bytes) -> bytes:
    """Recorded messages with the salt before the first text in them. Quotes inside a JSON string are escaped, so the
    pattern is found nowhere else."""
    return _FIRST_TEXT.sub(lambda found: found[0] + salt, messages.encode(), count=1)


def _head(target: TargetSpec) -> tuple[Origin, bytes]:
    """Request line and headers up to the value of Content-Length."""
    url = httpx.URL(target.url + "/chat/completions")
    path = url.raw_path.decode("ascii")
    if target.query:
        path += ("&" if "?" in path else "?") + urlencode(target.query)
    headers = {"Host": url.netloc.decode("ascii"), "User-Agent": "gatebench", "Accept": "*/*"}
    headers |= target.headers
    headers["Content-Type"] = "application/json"
    key = os.environ.get(target.api_key_env, "").strip()
    if key:
        headers["Authorization"] = f"Bearer {key}"
    lines = [f"POST {path} HTTP/1.1"] + [f"{name}: {_clean(name, value)}" for name, value in headers.items()]
    return Origin.of(url), ("\r\n".join([*lines, "Content-Length: "])).encode("latin-1")


def _clean(name: str, value: str) -> str:
    if "\r" in name + value or "\n" in name + value:
        raise UsageError(f"header {name}: a line break is not allowed in a header's value")
    try:
        (name + value).encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(
            f"header {name}: its value has a character that HTTP cannot carry; write it in ASCII"
        ) from None
    return value
