"""LiteLLM's StandardLoggingPayload as JSON lines: what a custom callback or `generic_api` hands out, one call a line.

A line may also hold a list of payloads (a batch of `generic_api`), or the keyword arguments of a callback with the
payload under `standard_logging_object`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from tasks.workload.formats.adapter import BLANK, Broken, Drop, Line, Row

CHAT = ("completion", "acompletion")
HEALTH_CHECK = "litellm-internal-health-check"  # the tag LiteLLM puts on its own probes
PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MOST_TOKENS = 1_000_000_000
LATEST_S = 1e11  # above this a stamp is in milliseconds, not seconds


class LiteLLM:
    """Adapter of StandardLoggingPayload lines."""

    name = "litellm"
    arrival_basis = "startTime (seconds since the epoch, UTC)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(_looks_like(record) for line in head for record in _records_or_none(line))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for number, line in lines:
            if not line.strip():
                yield Drop(number, BLANK, broken=False)
                continue
            try:
                records = _records(line)
            except Broken as broken:
                yield Drop(number, str(broken), broken=True)
                continue
            for record in records:
                yield _row_or_drop(number, record)


def _records(line: bytes) -> list[Any]:
    """The payloads of a line. Raises Broken where it is not JSON or holds none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Broken("not JSON") from None
    records = value if isinstance(value, list) else [value]
    if not records:
        raise Broken("an empty list")
    return [r.get("standard_logging_object", r) if isinstance(r, dict) else r for r in records]


def _records_or_none(line: bytes) -> list[Any]:
    try:
        return _records(line)
    except Broken:
        return []


def _looks_like(record: Any) -> bool:
    """Spend logs also have startTime and call_type, but neither of the other two."""
    return (
        isinstance(record, dict)
        and {"startTime", "call_type"} <= record.keys()
        and not {"litellm_call_id", "model_parameters"}.isdisjoint(record)
    )


def _row_or_drop(number: int, record: Any) -> Row | Drop:
    try:
        if not isinstance(record, dict):
            raise Broken("not a JSON object")
        reason = _unwanted(record)
        return Drop(number, reason, broken=False) if reason else _row(number, record)
    except Broken as broken:
        return Drop(number, str(broken), broken=True)


def _unwanted(record: dict[str, Any]) -> str | None:
    """Why a readable payload is no chat request of a client, or None."""
    call_type = record.get("call_type")
    if call_type is None:
        raise Broken("no call_type")
    if call_type not in CHAT:
        return f"call type {_plain(call_type) or 'unreadable'}"
    tags = record.get("request_tags")
    if isinstance(tags, list) and HEALTH_CHECK in tags:
        return "the gateway's own health check"
    return None


def _row(number: int, record: dict[str, Any]) -> Row:
    start_ns = _epoch_ns(record, "startTime")
    if start_ns is None:
        raise Broken("no startTime")
    failed = _failed(record)
    parameters = _part(record, "model_parameters")
    stream = _flag(parameters.get("stream"), record.get("stream"))
    end_ns = _epoch_ns(record, "endTime")
    prompt = _tokens(record, "prompt_tokens")
    output = _tokens(record, "completion_tokens")
    return Row(
        line=number,
        call_id=_text(record.get("litellm_call_id")),
        start_ns=start_ns,
        end_ns=end_ns if end_ns is not None and end_ns >= start_ns else None,
        first_token_ns=_first_token(record, start_ns, end_ns) if stream else None,
        model=_model(record),
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failed else output,
        max_output_tokens=_cap(parameters),
        stream=stream,
        session=_text(_part(_part(record, "metadata"), "requester_metadata").get("session_id")),
        user=_text(record.get("end_user")) or _text(_part(record, "metadata").get("user_api_key_hash")),
        failure=_failure(record) if failed else None,
        cache_hit=_flag(record.get("cache_hit")),
        messages=record.get("messages"),
    )


def _model(record: dict[str, Any]) -> str:
    """`model_group` is what the client asked, `model` where it was routed: that only where there is no group."""
    model = _text(record.get("model_group")) or _text(record.get("model"))
    if model is None:
        raise Broken("no model")
    return model


def _failed(record: dict[str, Any]) -> bool:
    status = record.get("status")
    if status not in ("success", "failure"):
        raise Broken("status is neither success nor failure")
    return bool(status == "failure")


def _failure(record: dict[str, Any]) -> str:
    information = _part(record, "error_information")
    return _plain(information.get("error_code")) or _plain(information.get("error_class")) or "failure"


def _first_token(record: dict[str, Any], start_ns: int, end_ns: int | None) -> int | None:
    """When LiteLLM saw the first chunk of a stream, be it only the role; it writes the end where it saw none."""
    first_ns = _epoch_ns(record, "completionStartTime")
    return None if first_ns is None or first_ns == end_ns or first_ns < start_ns else first_ns


def _epoch_ns(record: dict[str, Any], key: str) -> int | None:
    """Seconds since the epoch as a float, exact to a microsecond: a double holds no more at this size."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LATEST_S:
        raise Broken(f"{key} is not a time in seconds since the epoch")
    return round(value * 1_000_000) * 1000


def _tokens(record: dict[str, Any], key: str) -> int | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise Broken(f"{key} is not a whole number")
    if not 0 <= value <= MOST_TOKENS:
        raise Broken(f"{key} is out of range")
    return int(value)


def _cap(parameters: dict[str, Any]) -> int | None:
    """What the client asked for, which may be nonsense: then it is no cap."""
    for key in ("max_completion_tokens", "max_tokens"):
        value = parameters.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TOKENS:
            return value
    return None


def _flag(*values: Any) -> bool | None:
    return next((value for value in values if isinstance(value, bool)), None)


def _part(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(value: Any) -> str | None:
    """A code, class or type name; anything longer or stranger is not kept."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and PLAIN.fullmatch(text) else None
