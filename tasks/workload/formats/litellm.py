"""LiteLLM's StandardLoggingPayload as JSON lines: what a custom callback or `generic_api` hands out, one call a line.

A line may also hold a list of payloads (a batch of `generic_api`), or the keyword arguments of a callback with the
payload under `standard_logging_object`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.workload.formats.adapter import Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, flag, part, plain, text, tokens
from tasks.workload.formats.table import Record, of_json_lines

CHAT = ("completion", "acompletion")
HEALTH_CHECK = "litellm-internal-health-check"  # the tag LiteLLM puts on its own probes
LATEST_S = 1e11  # above this a stamp is in milliseconds, not seconds


class LiteLLM:
    """Adapter of StandardLoggingPayload lines."""

    name = "litellm"
    arrival_basis = "startTime (seconds since the epoch, UTC)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        found = of_json_lines(enumerate(head, 1))
        return any(isinstance(record, Record) and _looks_like(_payload(record.value)) for record in found)

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        for record in of_json_lines(lines):
            yield record if isinstance(record, Drop) else row_or_drop(record.line, _payload(record.value), _row_if_chat)


def _payload(record: dict[str, Any]) -> Any:
    return record.get("standard_logging_object", record)


def _looks_like(record: Any) -> bool:
    """Spend logs also have startTime and call_type, but neither of the other two."""
    return (
        isinstance(record, dict)
        and {"startTime", "call_type"} <= record.keys()
        and not {"litellm_call_id", "model_parameters"}.isdisjoint(record)
    )


def _row_if_chat(number: int, record: Any) -> Row | Drop:
    if not isinstance(record, dict):
        raise Broken("not a JSON object")
    reason = _unwanted(record)
    return Drop(number, reason, broken=False) if reason else _row(number, record)


def _unwanted(record: dict[str, Any]) -> str | None:
    """Why a readable payload is no chat request of a client, or None."""
    call_type = record.get("call_type")
    if call_type is None:
        raise Broken("no call_type")
    if call_type not in CHAT:
        return f"call type {plain(call_type) or 'unreadable'}"
    tags = record.get("request_tags")
    if isinstance(tags, list) and HEALTH_CHECK in tags:
        return "the gateway's own health check"
    return None


def _row(number: int, record: dict[str, Any]) -> Row:
    start_ns = _epoch_ns(record, "startTime")
    if start_ns is None:
        raise Broken("no startTime")
    failed = _failed(record)
    parameters = part(record, "model_parameters")
    stream = flag(parameters.get("stream"), record.get("stream"))
    end_ns = _epoch_ns(record, "endTime")
    prompt = tokens(record, "prompt_tokens")
    output = tokens(record, "completion_tokens")
    return Row(
        line=number,
        call_id=text(record.get("litellm_call_id")),
        start_ns=start_ns,
        end_ns=end_ns if end_ns is not None and end_ns >= start_ns else None,
        first_token_ns=_first_token(record, start_ns, end_ns) if stream else None,
        model=_model(record),
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failed else output,
        max_output_tokens=cap(parameters),
        stream=stream,
        session=text(part(record, "metadata", "requester_metadata").get("session_id")),
        user=text(record.get("end_user")) or text(part(record, "metadata").get("user_api_key_hash")),
        failure=_failure(record) if failed else None,
        cache_hit=flag(record.get("cache_hit")),
        messages=record.get("messages"),
    )


def _model(record: dict[str, Any]) -> str:
    """`model_group` is what the client asked, `model` where it was routed: that only where there is no group."""
    model = text(record.get("model_group")) or text(record.get("model"))
    if model is None:
        raise Broken("no model")
    return model


def _failed(record: dict[str, Any]) -> bool:
    status = record.get("status")
    if status not in ("success", "failure"):
        raise Broken("status is neither success nor failure")
    return bool(status == "failure")


def _failure(record: dict[str, Any]) -> str:
    information = part(record, "error_information")
    return plain(information.get("error_code")) or plain(information.get("error_class")) or "failure"


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
