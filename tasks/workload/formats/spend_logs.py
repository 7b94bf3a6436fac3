"""LiteLLM_SpendLogs: the table LiteLLM keeps in its database, exported as CSV or JSON, or as `/spend/logs` gives it.

It has no column for streaming: LiteLLM writes the end as the time of the first token of an answer that was no stream.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from tasks.workload.formats.adapter import Broken, Drop, Line, Row
from tasks.workload.formats.fields import cap, flag, moment_ns, part, plain, text, tokens
from tasks.workload.formats.litellm import CHAT, HEALTH_CHECK
from tasks.workload.formats.table import rows, sample

TELLING = frozenset({"request_id", "call_type", "startTime", "spend"})


class SpendLogs:
    """Adapter of rows of LiteLLM_SpendLogs."""

    name = "litellm_spend_logs"
    arrival_basis = "startTime (ISO 8601, UTC where no zone is written)"

    def recognises(self, head: Sequence[bytes]) -> bool:
        return any(record.keys() >= TELLING for record in sample(head))

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        return rows(lines, _row_if_chat)


def _row_if_chat(line: int, record: dict[str, Any]) -> Row | Drop:
    call_type = text(record.get("call_type"))
    if call_type is None:
        raise Broken("no call_type")
    if call_type not in CHAT:
        return Drop(line, f"call type {plain(call_type) or 'unreadable'}", broken=False)
    if HEALTH_CHECK in str(record.get("request_tags")):
        return Drop(line, "the gateway's own health check", broken=False)
    return _row(line, record)


def _row(line: int, record: dict[str, Any]) -> Row:
    start_ns = moment_ns(record.get("startTime"), "startTime")
    model = text(record.get("model_group")) or text(record.get("model"))
    if start_ns is None or model is None:
        raise Broken("no startTime" if start_ns is None else "no model")
    end_ns = moment_ns(record.get("endTime"), "endTime")
    first_ns = moment_ns(record.get("completionStartTime"), "completionStartTime")
    error = part(_inner(record, "metadata"), "error_information")
    failed = text(record.get("status")) == "failure" or _inner(record, "metadata").get("status") == "failure"
    asked = _inner(record, "proxy_server_request")  # kept only where LiteLLM was told to store prompts
    asked = part(asked, "body") or asked
    logged = flag(asked.get("stream"))
    stream = logged if logged is not None else None if failed else _streamed(first_ns, start_ns, end_ns)
    prompt = tokens(record, "prompt_tokens")
    return Row(
        line=line,
        call_id=text(record.get("request_id")),
        start_ns=start_ns,
        end_ns=end_ns if end_ns is not None and end_ns >= start_ns else None,
        first_token_ns=first_ns if stream and _streamed(first_ns, start_ns, end_ns) else None,
        model=model,
        input_tokens=prompt if prompt else None,  # a prompt is never empty: 0 is written where usage is unknown
        output_tokens=None if failed else tokens(record, "completion_tokens"),
        max_output_tokens=cap(asked),
        stream=stream,
        session=text(record.get("session_id")),
        user=text(record.get("end_user")) or text(record.get("user")) or text(record.get("api_key")),
        failure=plain(error.get("error_code")) or plain(error.get("error_class")) or "failure" if failed else None,
        cache_hit=flag(record.get("cache_hit")),
        messages=asked.get("messages") or _inner(record, "messages"),
    )


def _streamed(first_ns: int | None, start_ns: int, end_ns: int | None) -> bool | None:
    """Did the first token come before the end? None where that cannot be told."""
    if first_ns is None or end_ns is None or first_ns < start_ns:
        return None
    return first_ns < end_ns


def _inner(record: Mapping[str, Any], key: str) -> Any:
    """A JSON column: text in a CSV. An empty object where it holds nothing."""
    value = record.get(key)
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) or (isinstance(value, list) and key == "messages") else {}
