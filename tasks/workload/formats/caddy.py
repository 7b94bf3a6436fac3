"""Caddy's access log: its JSON entries of the loggers `http.log.access…`.

It stamps the end of a request (`ts`); the arrival is that less `duration`. Sizes are in bytes, so tokens are guessed;
what a stream is, the response's Content-Type says. Entries of other loggers are no requests.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import count, moment_ns, part, span_ns, text
from tasks.workload.formats.table import rows, sample

ACCESS = "http.log.access"
GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
GO_UNITS_NS = {"h": 3600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0}


class Caddy:
    """Adapter of access logs."""

    name = "caddy"
    arrival_basis = "ts (the end of the request, UTC) less duration"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_is_access(record) for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row)


def _is_access(record: Mapping[str, Any]) -> bool:
    logger = record.get("logger")
    return isinstance(logger, str) and logger.startswith(ACCESS) and isinstance(record.get("request"), dict)


def _row(number: int, record: dict[str, Any]) -> Row | Drop:
    if not _is_access(record):
        return Drop(number, "no entry of an access log", broken=False)
    request = part(record, "request")
    if request.get("uri") is None:
        raise Broken("no uri")
    reason = calls.unwanted(request.get("method"), request["uri"])
    if reason:
        return Drop(number, reason, broken=False)
    end_ns = moment_ns(record.get("ts"), "ts")
    took_ns = _duration_ns(record.get("duration"))
    if end_ns is None or took_ns is None:
        raise Broken("no ts" if end_ns is None else "no duration")
    failure = calls.failure(record.get("status"))
    stream = calls.is_stream(_header(part(record, "resp_headers"), "content-type"))
    put = calls.tokens_of_request(_size(record, "bytes_read"))
    got = None if failure else calls.tokens_of_response(_size(record, "size"), stream)
    return Row(
        line=number,
        start_ns=end_ns - took_ns,
        end_ns=end_ns,
        model=calls.UNNAMED,
        input_tokens=put,
        output_tokens=got,
        stream=stream,
        user=text(record.get("user_id")),
        failure=failure,
        approximate=put is not None or got is not None,
    )


def _duration_ns(value: Any) -> int | None:
    """Seconds, as Caddy writes them by default; or Go's `1.5s`, with `duration_format string`. Raises Broken."""
    if isinstance(value, str) and not re.fullmatch(r"[\d.]+", value):
        parts = GO_DURATION.findall(value)
        if "".join(number + unit for number, unit in parts) != value:
            raise Broken("duration is not a duration")
        return round(sum(float(number) * GO_UNITS_NS[unit] for number, unit in parts))
    return span_ns(value, "duration", "s")


def _header(headers: Mapping[str, Any], name: str) -> Any:
    """The first value of a header; names are not told apart by case."""
    values = next((values for key, values in headers.items() if key.lower() == name), None)
    return values[0] if isinstance(values, list) and values else values


def _size(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    return None if value is None else count(value, name)
