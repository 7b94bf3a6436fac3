"""Envoy's access log: its default text format (Istio's too), or JSON with the operators' usual names.

It stamps the start of a request; the duration is in milliseconds. Sizes are in bytes, so tokens are guessed, unless the
log carries token counts in fields of its own. What a stream is, only a logged Content-Type of the response can say.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import BLANK, Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import count, first, moment_ns, plain, span_ns, text, tokens

DEFAULT = re.compile(
    r'\[(?P<start_time>\d{4}-\d\d-\d\dT[^\]]{6,24})\] "(?P<method>\S+) (?P<path>.*?) (?P<protocol>\S+)" '
    r"(?P<response_code>\d+) (?P<response_flags>\S+) "
    r'(?:\S+ \S+ "[^"]*" )?'  # Istio: response code details, connection termination, upstream failure
    r"(?P<bytes_received>\d+) (?P<bytes_sent>\d+) (?P<duration>\d+|-) (?P<upstream>\d+|-)(?: .*)?"
)
START = ("start_time", "startTime", "@timestamp", "timestamp")
PATH = ("x-envoy-origin-path", "x-envoy-original-path", "x_envoy_original_path", "path", ":path")
CODE = ("response_code", "responseCode", "status")
FLAGS = ("response_flags", "responseFlags")
SIGNS = frozenset({"response_code", "responseCode", "response_flags", "responseFlags"})
NO_VALUE = "-"


class Envoy:
    """Adapter of access logs."""

    name = "envoy"
    arrival_basis = "start_time (UTC unless it says otherwise)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_looks_like(line) for line in head)

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for number, line in lines:
            if line.strip():
                yield row_or_drop(number, line, _row_or_drop)
            else:
                yield Drop(number, BLANK, broken=False)


def _looks_like(line: bytes) -> bool:
    if line.lstrip()[:1] != b"{":
        return DEFAULT.fullmatch(line.decode("utf-8", "replace")) is not None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return first(record, *START) is not None and not SIGNS.isdisjoint(record)


def _row_or_drop(number: int, line: bytes) -> Row | Drop:
    if line.lstrip()[:1] == b"{":
        try:
            logged = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise Broken("not JSON") from None
    else:
        found = DEFAULT.fullmatch(line.decode("utf-8", "replace"))
        if found is None:
            raise Broken("neither JSON nor the default format")
        logged = found.groupdict()
    return _row(number, {name: value for name, value in logged.items() if value != NO_VALUE})


def _row(number: int, record: Mapping[str, Any]) -> Row | Drop:
    path = first(record, *PATH)
    if path is None:
        raise Broken("no path")
    reason = calls.unwanted(first(record, "method", ":method"), path)
    if reason:
        return Drop(number, reason, broken=False)
    start_ns = moment_ns(first(record, *START), "start_time")
    if start_ns is None:
        raise Broken("no start_time")
    took_ns = span_ns(record.get("duration"), "duration", "ms")
    failure = _failure(record)
    stream = calls.is_stream(first(record, "content_type", "content-type", "response_content_type"))
    put, put_guessed = calls.counted(
        tokens(record, "input_tokens", "prompt_tokens", "gen_ai.usage.input_tokens"),
        calls.tokens_of_request(_size(record, "bytes_received", "bytesReceived")),
    )
    got, got_guessed = calls.counted(
        tokens(record, "output_tokens", "completion_tokens", "gen_ai.usage.output_tokens"),
        calls.tokens_of_response(_size(record, "bytes_sent", "bytesSent"), stream),
    )
    return Row(
        line=number,
        call_id=None,  # a client may set x-request-id, and repeat it
        start_ns=start_ns,
        end_ns=None if took_ns is None else start_ns + took_ns,
        model=text(first(record, "model", "gen_ai.request.model")) or calls.UNNAMED,
        input_tokens=put,
        output_tokens=None if failure else got,
        stream=stream,
        session=text(first(record, "session_id", "x-session-id")),
        failure=failure,
        approximate=put_guessed or (got_guessed and not failure),
    )


def _failure(record: Mapping[str, Any]) -> str | None:
    """The status unless it is 2xx, else the flags of an answer that was cut (`DC`: the client left, `UC`, `UT` …);
    a status of 0 says that no answer began."""
    failure = calls.failure(first(record, *CODE))
    flags = plain(str(first(record, *FLAGS) or "").replace(",", "."))
    return flags or failure if failure in (None, "0") else failure


def _size(record: Mapping[str, Any], *names: str) -> int | None:
    value = first(record, *names)
    return None if value is None else count(value, names[0])
