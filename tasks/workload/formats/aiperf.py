"""AIPerf's trace and conversation files as JSON lines: Mooncake's fields and session_id, delay, text_input, messages,
payload; or a line a conversation, with `turns`.

`timestamp` and `delay` are in milliseconds. A delay counts from the answer to the turn before, which the file does not
know: the arrival is then the turn before plus the delay, the earliest it can be. As AIPerf sends them, turns of a
session that bring only what is new carry the turns and answers before them along, and their tokens are added up here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.workload.formats import calls
from tasks.workload.formats.adapter import Broken, Drop, Line, Row, row_or_drop
from tasks.workload.formats.fields import cap, flag, moment_ns, part, span_ns, text, tokens
from tasks.workload.formats.mooncake import BLOCK_TOKENS, blocks, is_mooncakes
from tasks.workload.formats.table import Record, records, sample

ASKS = frozenset({"input_length", "text_input", "messages", "payload", "text", "texts"})  # what is sent; a line has one
TRACE_ONLY = frozenset({"input_length", "text_input", "hash_ids", "message_mode", "payload"})
WHEN = frozenset({"timestamp", "delay", "session_id", "output_length"})
FOREIGN = frozenset({"model", "chat_id", "created", "created_at", "response", "request", "usage", "status"})


class AIPerf:
    """Adapter of AIPerf's input files of types mooncake_trace, single_turn and multi_turn."""

    name = "aiperf"
    arrival_basis = "timestamp (milliseconds since the trace began), else the turn before plus delay"
    block_tokens = BLOCK_TOKENS

    def recognises(self, head: Sequence[bytes]) -> bool:
        found = sample(head)
        return all(_is_ours(record) for record in found) and any(not is_mooncakes(record) for record in found)

    def read(self, lines: Iterable[Line]) -> Iterator[Row | Drop]:
        sessions: dict[str, _Session] = {}
        for record in records(lines):
            if not isinstance(record, Record):
                yield record
                continue
            for turn in _turns(record.value):
                yield row_or_drop(record.line, turn, lambda line, turn: _row(line, turn, sessions))


@dataclass(slots=True)
class _Session:
    """What is known of a conversation up to now."""

    start_ns: int
    context_tokens: int | None  # of all its turns and answers so far; None once one of them is not known


class _Asked(NamedTuple):
    tokens: int | None
    guessed: bool
    whole: bool  # it is the whole prompt, with the turns before it
    messages: Any


def _is_ours(record: Mapping[str, Any]) -> bool:
    if not FOREIGN.isdisjoint(record):
        return False
    if isinstance(record.get("turns"), list):
        return True
    return not ASKS.isdisjoint(record) and not (TRACE_ONLY | WHEN).isdisjoint(record)


def _turns(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns of a conversation, each with its session; a line without turns is one."""
    turns = record.get("turns")
    if not isinstance(turns, list) or not turns:
        return [record]
    shared = {"session_id": record.get("session_id"), "in_conversation": True}
    return [shared | turn if isinstance(turn, dict) else {} for turn in turns]


def _row(number: int, turn: dict[str, Any], sessions: dict[str, _Session]) -> Row | Drop:
    name = text(turn.get("session_id"))
    before = None if name is None else sessions.get(name)
    start_ns = _start_ns(turn, before)
    if start_ns is None:
        return Drop(number, "neither a timestamp nor a turn before", broken=False)
    asked = _asked(turn)
    output = tokens(turn, "output_length")
    prompt = asked.tokens
    if before is not None and not asked.whole:
        prompt = None if prompt is None or before.context_tokens is None else prompt + before.context_tokens
    if name is not None:
        sessions[name] = _Session(start_ns, None if prompt is None or output is None else prompt + output)
    payload = part(turn, "payload")
    return Row(
        line=number,
        start_ns=start_ns,
        model=text(payload.get("model")) or calls.UNNAMED,
        input_tokens=prompt,
        output_tokens=output,
        max_output_tokens=cap(payload),
        stream=flag(payload.get("stream")),
        session=name,
        messages=asked.messages,
        prefix_blocks=blocks(turn.get("hash_ids")) if before is None else None,  # of a later turn they are no beginning
        approximate=asked.guessed,
    )


def _start_ns(turn: Mapping[str, Any], before: _Session | None) -> int | None:
    at_ns = moment_ns(turn.get("timestamp"), "timestamp", "ms")
    if at_ns is not None or before is None:
        return at_ns
    delay_ns = span_ns(turn.get("delay"), "delay", "ms")
    return before.start_ns if delay_ns is None else before.start_ns + delay_ns


def _asked(turn: Mapping[str, Any]) -> _Asked:
    """Raises Broken where nothing is asked."""
    length = tokens(turn, "input_length")
    if length is not None:
        return _Asked(length, guessed=False, whole=False, messages=None)
    messages = turn.get("messages") or part(turn, "payload").get("messages")
    if messages is not None:
        whole = turn.get("message_mode") != "delta"
        guess = calls.tokens_of_messages(messages)
        return _Asked(guess, guessed=guess is not None, whole=whole, messages=messages)
    words = turn.get("text_input") or turn.get("text") or _joined(turn.get("texts")) or turn.get("payload")
    if not words:
        raise Broken("nothing is asked: no input_length, text_input, messages, payload or text")
    guess = calls.tokens_of_text(words)
    alone = not turn.get("in_conversation") and "text_input" not in turn  # single turns of a session do not add up
    return _Asked(guess, guess is not None, alone, [{"role": "user", "content": words}] if guess else None)


def _joined(texts: Any) -> str | None:
    return "\n".join(t for t in texts if isinstance(t, str)) if isinstance(texts, list) else None
