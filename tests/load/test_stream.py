"""Bytes of server-sent events -> facts, however the bytes are cut, against a slow reader that parses everything."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.load.stream import TokenStream

NASTY = '"finish_reason":null,"content":"x" \\ "usage":{ data: [DONE]\r\n\r\n{"error":1}'


@dataclass
class Facts:
    tokens: int = 0
    done: bool = False
    error: str | None = None
    bad_json: bool = False
    finish_reason: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    token_events: list[int] = field(default_factory=list)  # numbers of the events that carried a token
    first_answer: int | None = None  # number of the first event with a token of the answer

    def without_events(self) -> tuple[object, ...]:
        return (self.tokens, self.done, self.error, self.bad_json, self.finish_reason, self.model, self.usage)


def facts_of(stream: TokenStream) -> tuple[object, ...]:
    s = stream
    return (s.tokens, s.done, s.error, s.bad_json, s.finish_reason, s.model or None, s.usage)


def slowly(body: bytes) -> Facts:
    """The same facts, obviously: lines as the standard ends them, events at blank lines, all of it parsed."""
    facts = Facts()
    data: list[bytes] = []
    number, broken = 0, False
    *lines, rest = re.split(rb"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line == b"event: error":
            broken = True
        elif not line:
            if broken:
                facts.error = b"\n".join(data).decode()[:200]
            else:
                read_event(b"\n".join(data), number, facts)
            data, broken = [], False
            number += 1
    if rest.startswith(b"data:"):
        data.append(rest[5:].removeprefix(b" "))
    bad_json = facts.bad_json
    if broken:
        facts.error = b"\n".join(data).decode()[:200]
    else:
        read_event(b"\n".join(data), number, facts)
    facts.bad_json = bad_json
    return facts


def read_event(payload: bytes, number: int, facts: Facts) -> None:
    if not payload:
        return
    if payload == b"[DONE]":
        facts.done = True
        return
    try:
        frame = json.loads(payload)
    except ValueError:
        facts.bad_json = True
        return
    if frame.get("error") or frame.get("object") == "error":
        facts.error = str(frame.get("error") or frame["message"])[:200]
        return
    facts.model = facts.model or frame.get("model")
    facts.usage = frame.get("usage") or facts.usage
    for choice in frame.get("choices", []):
        delta = choice.get("delta", {})
        answer = any(delta.get(part) for part in ("content", "tool_calls", "refusal", "function_call"))
        if answer or delta.get("reasoning_content") or delta.get("reasoning"):
            facts.tokens += 1
            facts.token_events.append(number)
            if answer and facts.first_answer is None:
                facts.first_answer = number
        facts.finish_reason = choice.get("finish_reason") or facts.finish_reason


def frame(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def event(value: Any, *, end: str = "\n", spaces: bool = False) -> bytes:
    separators = None if spaces else (",", ":")
    text = value if isinstance(value, str) else json.dumps(value, separators=separators, ensure_ascii=spaces)
    return f"data: {text}{end}{end}".encode()


def read(body: bytes, cuts: Sequence[int] = ()) -> TokenStream:
    """Each read is stamped with the number of bytes it ends at, times a thousand."""
    stream = TokenStream()
    edges = [0, *sorted(cuts), len(body)]
    for start, end in pairwise(edges):
        if end > start:
            stream.feed(body[start:end], end * 1000)
    stream.close(len(body) * 1000)
    return stream


ROLE = event(frame({"role": "assistant", "content": None}))
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}
WHOLE = (
    ROLE
    + event(frame({"reasoning_content": "hm"}))
    + b": a comment\n\n"
    + event(frame({"content": "Hello"}))
    + event(frame({"content": NASTY}))
    + b"event: message\nid: 7\n"
    + event(frame({"content": "two"}), spaces=True)
    + event(frame({}, "stop"))
    + event({"id": "c", "model": "m", "choices": [], "usage": USAGE})
    + event("[DONE]")
)

texts = st.one_of(
    st.sampled_from(["", " token", " token", "größer 令牌 🙂", '"', "\\", NASTY]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
deltas = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.one_of(st.none(), texts)}),
    st.fixed_dictionaries({"reasoning_content": texts, "content": st.one_of(st.none(), texts)}),
    st.fixed_dictionaries({"content": texts, "reasoning": texts}),
    st.fixed_dictionaries({"tool_calls": st.just([{"index": 0, "function": {"arguments": NASTY}}])}),
    st.fixed_dictionaries({"content": texts, "tool_calls": st.just([{"function": {"arguments": '{"a":"b"}'}}])}),
    st.fixed_dictionaries({"content": texts, "refusal": texts, "role": st.just("assistant")}),
    st.just({"function_call": {"name": "f"}}),
    st.just({}),
)
several = st.lists(
    st.builds(
        lambda index, delta, finish: {"index": index, "delta": delta, "finish_reason": finish},
        st.integers(0, 1),
        deltas,
        st.sampled_from([None, None, "stop"]),
    ),
    max_size=3,
)
alike = st.builds(lambda text: frame({"content": text}), texts)  # nearly all events of nearly all streams
frames = st.one_of(
    alike,
    alike,
    st.builds(lambda choices: {"id": "c", "model": "m", "choices": choices}, several),
    st.just({"object": "error", "message": NASTY, "code": 400}),
    st.builds(frame, deltas, st.sampled_from([None, None, None, "stop", "length"])),
    st.builds(frame, deltas, usage=st.sampled_from([None, USAGE])),
    st.just({"choices": [], "usage": USAGE}),
    st.just({"model": "m", "choices": [{"index": 0, "delta": {}}], "usage": USAGE}),
    st.sampled_from([{"error": {"message": NASTY}}, {"error": None, **frame({"content": "x"})}]),
)
payloads = st.one_of(
    st.builds(lambda value, spaces: event(value, spaces=spaces), frames, st.booleans()),
    st.just(b'event: error\ndata: {"message":"no"}\n\n'),
    st.builds(lambda value: event(json.dumps(value, indent=1).replace("\n", "\ndata: ")), frames),
    st.sampled_from([b": ping\n\n", b"\n", b"data: {broken\n\n", event("[DONE]"), b"data:\n\n", b"retry: 10\n\n"]),
)
bodies = st.builds(
    lambda parts, mark, end, closed: mark + b"".join(parts).replace(b"\n", end)[: None if closed else -len(end)],
    st.lists(payloads, max_size=12),
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]),
    st.booleans(),
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=30))
def test_any_cutting_of_a_stream_gives_the_same_facts(cuts):
    stream = read(WHOLE, cuts)
    assert facts_of(stream) == (4, True, None, False, "stop", "m", USAGE)
    assert stream.first_answer_ns >= stream.first_token_ns


@given(st.data())
def test_any_stream_cut_anywhere_is_read_as_the_slow_reader_reads_it(data):
    body = data.draw(bodies)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    assert facts_of(read(body, cuts)) == slowly(body).without_events()


@given(st.data())
def test_the_tokens_of_any_stream_are_stamped_by_the_reads_that_completed_their_events(data):
    body = data.draw(st.builds(b"".join, st.lists(payloads, max_size=12))) + b"\n\n"
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    facts = slowly(body)
    edges = sorted({*cuts, len(body)} - {0})
    ends = [match.end() for match in re.finditer(rb"(?<=\n)\n", b"\n" + body)]
    stamps = [min(edge for edge in edges if edge >= ends[number] - 1) * 1000 for number in facts.token_events]
    stream = read(body, cuts)
    assert stream.gaps_us == [(b - a) // 1000 for a, b in pairwise(stamps)]
    if stamps:
        assert (stream.first_token_ns, stream.last_token_ns) == (stamps[0], stamps[-1])
    if facts.first_answer is not None:
        assert stream.first_answer_ns == stamps[facts.token_events.index(facts.first_answer)]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=30))
def test_a_token_is_stamped_by_the_read_that_completed_its_event(cuts):
    edges = sorted({*cuts, len(WHOLE)} - {0})
    facts = slowly(WHOLE)
    ends = [match.end() for match in re.finditer(rb"\n\n", WHOLE)]
    stamps = [min(edge for edge in edges if edge >= ends[number]) * 1000 for number in facts.token_events]
    stream = read(WHOLE, cuts)
    assert (stream.first_token_ns, stream.last_token_ns) == (stamps[0], stamps[-1])
    assert stream.gaps_us == [(b - a) // 1000 for a, b in pairwise(stamps)]
    assert stream.first_answer_ns == stamps[facts.token_events.index(facts.first_answer)]


def test_byte_by_byte():
    assert facts_of(read(WHOLE, range(len(WHOLE)))) == facts_of(read(WHOLE))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_in_all_three_ways(end):
    body = WHOLE.replace(b"\n", end)
    assert facts_of(read(body, range(len(body)))) == facts_of(read(WHOLE))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(
    cuts=st.lists(st.integers(0, 40_000), max_size=40),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=3, max_size=3),
    length=st.integers(3900, 20_000),
    more=st.integers(0, 2),
)
def test_a_long_event_cut_anywhere_is_read_as_if_it_came_whole(cuts, ends, length, more):
    long = event(frame({"content": "y" * length}), end=ends[1]).replace(
        b'"content"', ends[1].encode() + b'data: "content"'
    )
    body = ROLE.replace(b"\n", ends[0].encode()) + long * (1 + more) + event("[DONE]", end=ends[2])
    for near in (len(body) - 1, len(body) - 2, len(body) - 3):
        stream = read(body, [*(cut for cut in cuts if cut < len(body)), near])
        assert facts_of(stream) == facts_of(read(body))
        assert (stream.tokens, stream.done, stream.bad_json) == (1 + more, True, False)


def test_an_event_without_end_is_looked_through_once_and_not_kept_for_ever():
    stream = TokenStream()
    read_at_once = b"data: x\n" * 8192
    for k in range(1 + (1 << 26) // len(read_at_once) + 4):
        stream.feed(read_at_once, k)
    held = len(stream.tail) + sum(map(len, stream.more))
    assert (stream.bad_json, stream.tokens) == (True, 0)
    assert held < 10 * len(read_at_once)


def test_several_tokens_in_one_read_share_its_stamp():
    stream = TokenStream()
    stream.feed(ROLE, 1_000)
    stream.feed(event(frame({"content": "a"})) * 3, 5_000)
    stream.feed(event(frame({"content": "b"})), 9_000)
    assert (stream.first_token_ns, stream.last_token_ns, stream.gaps_us) == (5_000, 9_000, [0, 0, 4])


def test_data_on_several_lines_is_one_event():
    body = b'data: {"model":"m","choices":[{"delta":\ndata: {"content":"x"},\ndata:"finish_reason":"stop"}]}\n\n'
    assert facts_of(read(body)) == (1, False, None, False, "stop", "m", None)


def test_a_token_that_looks_like_a_frame_is_one_token():
    body = ROLE + event(frame({"content": NASTY})) + event(frame({"content": '","finish_reason":null,"content":"'}))
    assert facts_of(read(body)) == (2, False, None, False, None, "m", None)


def test_an_empty_content_is_no_token():
    assert read(ROLE + event(frame({"content": ""})) * 3).tokens == 0


def test_reasoning_is_a_token_but_not_the_answer():
    stream = TokenStream()
    stream.feed(event(frame({"reasoning_content": "hm", "content": None})), 1_000)
    stream.feed(event(frame({"reasoning": "hm", "content": ""})), 2_000)
    stream.feed(event(frame({"content": "yes"})), 4_000)
    assert (stream.tokens, stream.first_token_ns, stream.first_answer_ns) == (3, 1_000, 4_000)


def test_a_tool_call_is_an_answer():
    call = {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"content":"x"}'}}]}
    stream = read(ROLE + event(frame(call)) + event(frame({}, "tool_calls")))
    assert (stream.tokens, stream.finish_reason) == (1, "tool_calls")
    assert stream.first_answer_ns is not None


@pytest.mark.parametrize("choices", [[], [{"index": 0, "delta": {}}]], ids=["llama.cpp", "LiteLLM"])
def test_usage_comes_in_two_shapes(choices):
    stream = read(ROLE + event({"id": "c", "model": "m", "choices": choices, "usage": USAGE}))
    assert (stream.usage, stream.tokens) == (USAGE, 0)


def test_usage_beside_a_token_is_kept_too():
    stream = read(ROLE + event(frame({"content": "x"}, usage=USAGE)) + event(frame({"content": "y"}, usage=None)))
    assert (stream.usage, stream.tokens) == (USAGE, 2)


def test_an_error_frame_is_kept_in_its_own_words():
    stream = read(ROLE + event(frame({"content": "x"})) + event({"error": {"message": "upstream broke", "code": 500}}))
    assert (stream.tokens, stream.done) == (1, False)
    assert "upstream broke" in stream.error


def test_without_done_nothing_is_done():
    stream = read(ROLE + event(frame({"content": "x"})))
    assert (stream.done, stream.finish_reason) == (False, None)


def test_done_without_its_blank_line_counts():
    assert read(ROLE + b"data: [DONE]").done
    assert read(ROLE + b"data: [DONE]\r\n").done


def test_a_frame_that_was_cut_off_by_the_end_is_not_called_bad_json():
    stream = read(ROLE + event(frame({"content": "x"})) + b'data: {"id":"c","choi')
    assert (stream.tokens, stream.bad_json) == (1, False)


@pytest.mark.parametrize("junk", ["{broken", "null", "[1]", '"text"', "\udc80"])
def test_an_event_that_is_no_json_object_is_bad_json(junk):
    body = b"data: " + junk.encode("utf-8", "surrogateescape") + b"\n\n"
    assert read(ROLE + body).bad_json


def test_a_model_that_is_named_late_is_named():
    first = {"choices": [], "model": "", "prompt_filter_results": []}
    stream = read(event(first) + event(frame({"content": "x"})) + event(frame({}, "stop")))
    assert (stream.model, stream.tokens) == ("m", 1)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
odd_frames = st.dictionaries(
    st.sampled_from(["choices", "model", "usage", "error", "id"]),
    st.one_of(values, st.lists(st.dictionaries(st.sampled_from(["delta", "finish_reason"]), values), max_size=2)),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(odd_frames, max_size=4), st.booleans())
def test_no_json_however_odd_breaks_the_reader(odd, closed):
    body = b"".join(event(value) for value in odd)
    stream = read(body if closed else body[:-2])
    assert stream.tokens >= 0


TOKEN = b'data: {"model":"m","choices":[{"delta":{"content":"%s"},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize("noise", [b"\n\n", b"\n\n\n\n", b"?\n\n", b"x\n\n"])
def test_what_is_no_event_before_the_first_token_is_passed_over(noise: bytes):
    assert read(noise + ROLE + TOKEN % b"a").tokens == 1


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [
        ((b"a", b"b", b"c"), 3),
        ((b"a", b"", b"c"), 2),
        ((b'\\"', b"\\\\", b'\\"}]}'), 3),
        ((b"a", b'","refusal":"', b"c"), 2),
        ((b"a", b'","tool_calls":[],"refusal":"b', b"c"), 3),
        ((b"a", b'x"},"finish_reason":null},{"index":1,"delta":{"content":"b', b"c"), 4),
    ],
)
def test_tokens_that_look_alike_are_counted_whether_they_come_in_one_read_or_in_many(texts, tokens):
    events = [ROLE, *(TOKEN % text for text in texts)]
    together, apart = TokenStream(), TokenStream()
    together.feed(b"".join(events), 9_000)
    for at, event in enumerate(events):
        apart.feed(event, at * 1_000)
    assert together.tokens == apart.tokens == tokens
    assert together.gaps_us == [0] * (tokens - 1)
    assert sum(apart.gaps_us) * 1_000 == apart.last_token_ns - apart.first_token_ns
