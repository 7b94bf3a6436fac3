"""nginx's access log: a JSON `log_format` with nginx's own variable names, or the text format `combined`.

Both stamp the end of a request; the arrival is that less `$request_time`, where it is logged. `combined` has whole
seconds and no duration; one that was given `$request_time` at its end, bare or as `rt=…`, is read with it. Sizes are in
bytes, so tokens are guessed, unless the log carries the body's token counts in fields of its own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import BLANK, Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, count, first, flag, moment_ns, part, span_ns, text, tokens

HEADERS = 250  # bytes of a request or an answer that are no body
COMBINED = re.compile(
    r"\S+ \S+ (?P<remote_user>.*?) \[(?P<time_local>[^\]]{20,32})\] "
    r'"(?P<request>(?:\\.|[^"\\])*)" (?P<status>\d{3}) (?P<body_bytes_sent>\d+|-)'
    r'(?: "(?:\\.|[^"\\])*" "(?:\\.|[^"\\])*")?(?P<rest>(?: .*)?)'
)
REQUEST_TIME = (
    re.compile(r"\b(?:rt|request_time)[=:]\"?(\d+\.\d{3})\b"),
    re.compile(r"(?:^|\s)\"?(\d+\.\d{3})\"?(?=\s|$)"),
)
LOCAL = re.compile(r"(?P<day>\d\d)/(?P<month>\w{3})/(?P<year>\d{4}):(?P<time>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ESCAPED = re.compile(rb"\\x([0-9A-Fa-f]{2})")
END = ("msec", "time_iso8601", "time_local", "ts", "timestamp", "@timestamp", "time")
SIGNS = frozenset({"request_time", "msec", "time_local", "body_bytes_sent", "request_length", "upstream_response_time"})
NO_VALUE = "-"


class Nginx:
    """Adapter of access logs."""

    name = "nginx"
    arrival_basis = "the logged end of the request less request_time; the end itself where no duration is logged"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_looks_like(line) for line in head)

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for number, line in lines:
            if line.strip():
                yield row_or_drop(number, line, _row_of_json if line.lstrip()[:1] == b"{" else _row_of_text)
            else:
                yield Drop(number, BLANK, broken=False)


def _looks_like(line: bytes) -> bool:
    if line.lstrip()[:1] != b"{":
        return COMBINED.fullmatch(line.decode("utf-8", "replace")) is not None
    try:
        record = _loads(line)
    except orjson.JSONDecodeError:
        return False
    return "status" in record and not SIGNS.isdisjoint(record)


def _loads(line: bytes) -> dict[str, Any]:
    """The fields of a line that starts with a brace. Without `escape=json`, nginx writes `\\x22` for a quote, which is
    no JSON."""
    try:
        found: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = orjson.loads(ESCAPED.sub(_unescaped, line))
    return found


def _unescaped(found: re.Match[bytes]) -> bytes:
    """The byte, or where it may not stand in JSON as it is, JSON's own escape."""
    byte = int(found[1], 16)
    return b"\\u%04x" % byte if byte < 32 or byte in b'"\\' else bytes([byte])


def _row_of_json(number: int, line: bytes) -> Row | Drop:
    try:
        logged = _loads(line)
    except orjson.JSONDecodeError:
        raise Broken("not JSON") from None
    return _row(number, {name: value for name, value in logged.items() if value != NO_VALUE})


def _row_of_text(number: int, line: bytes) -> Row | Drop:
    found = COMBINED.fullmatch(line.decode("utf-8", "replace"))
    if found is None:
        raise Broken("neither JSON nor the combined format")
    logged: dict[str, Any] = {name: value for name, value in found.groupdict().items() if value != NO_VALUE}
    seconds = next((took[1] for shape in REQUEST_TIME if (took := shape.search(found["rest"]))), None)
    return _row(number, logged | {"request_time": seconds})


def _row(number: int, record: Mapping[str, Any]) -> Row | Drop:
    method, _, target = str(first(record, "request") or "").partition(" ")
    path = first(record, "request_uri", "uri") or target.partition(" ")[0]
    if not path:
        raise Broken("no uri")
    reason = calls.unwanted(first(record, "request_method", "method") or method or None, path)
    if reason:
        return Drop(number, reason, broken=False)
    end_ns = _end_ns(record)
    took_ns = span_ns(record.get("request_time"), "request_time", "s")
    if took_ns is not None and took_ns > end_ns:
        raise Broken("request_time is longer than there is time")
    body = calls.body(record.get("request_body"))
    failure = calls.failure(record.get("status"))
    stream, most = _stream(record, body), cap(body)
    size, sent = _size(record, "request_length"), _size(record, "bytes_sent")
    put, put_guessed = calls.counted(
        tokens(record, "input_tokens", "prompt_tokens"),
        calls.tokens_of_messages(body.get("messages")) or calls.tokens_of_request(size, HEADERS),
    )
    got, got_guessed = calls.counted(
        tokens(record, "output_tokens", "completion_tokens"),
        calls.tokens_of_response(_size(record, "body_bytes_sent"), stream, most)
        if sent is None
        else calls.tokens_of_response(sent, stream, most, HEADERS),
    )
    return Row(
        line=number,
        call_id=text(record.get("request_id")),
        start_ns=end_ns if took_ns is None else end_ns - took_ns,
        end_ns=None if took_ns is None else end_ns,
        first_token_ns=None,  # upstream_header_time is that of the headers
        model=text(body.get("model")) or text(record.get("model")) or calls.UNNAMED,
        input_tokens=put,
        output_tokens=None if failure else got,
        max_output_tokens=most,
        stream=stream,
        session=text(first(record, "session_id", "http_x_session_id"))
        or text(part(body, "metadata").get("session_id")),
        user=text(body.get("user")) or text(record.get("remote_user")),
        failure=failure,
        messages=body.get("messages"),
        approximate=put_guessed or (got_guessed and not failure),
    )


def _end_ns(record: Mapping[str, Any]) -> int:
    """The most exact of the stamps that are logged. Raises Broken."""
    for name in END:
        value = record.get(name)
        if value is not None and value != "":
            local = _local_ns(value) if isinstance(value, str) else None
            found = moment_ns(value, name) if local is None else local
            if found is not None:
                return found
    raise Broken("no time")


def _local_ns(value: str) -> int | None:
    """`24/Nov/2026:06:49:51 +0000`, or None where it is written otherwise. Raises Broken."""
    found = LOCAL.fullmatch(value)
    if found is None or found["month"] not in MONTHS:
        return None
    month = MONTHS.index(found["month"]) + 1
    return moment_ns(f"{found['year']}-{month:02}-{found['day']}T{found['time']}{found['zone']}", "time_local")


def _stream(record: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    """As the body asks: one that does not say asks for none. Else as the answer's type says."""
    if body:
        return bool(flag(body.get("stream")))
    sent = calls.is_stream(record.get("sent_http_content_type"))
    return calls.is_stream(record.get("content_type"), of_response=False) if sent is None else sent


def _size(record: Mapping[str, Any], name: str) -> int | None:
    value = first(record, name)
    return None if value is None else count(value, name)
