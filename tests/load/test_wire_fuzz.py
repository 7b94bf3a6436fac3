"""Random answers in random pieces: read as they were meant, and whatever else comes, an exchange ends exactly once."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.records import Failure
from tasks.load.connection import Connection
from tasks.load.exchange import Exchange, Limits, Origin
from tasks.load.wire import WireTransport
from tests.fakes.servers import Talk, answer, chunked, serving

ORIGIN = Origin("http", "h", 80)
PAYLOAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


class Line(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Pool:
    has_closed: bool = False
    kept: list[Connection] = field(default_factory=list)
    resent: list[Exchange] = field(default_factory=list)

    def release(self, origin: Origin, connection: Connection) -> None:
        self.kept.append(connection)

    def resend(self, exchange: Exchange) -> None:
        self.resent.append(exchange)


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer, and what they mean."""

    wire: bytes
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keeps: bool  # the connection may be used again
    until_close: bool


@dataclass
class Told:
    exchange: Exchange
    ends: int
    kept: bool

    def facts(self) -> tuple[object, ...]:
        e = self.exchange
        return (e.status, e.failure, e.headers, b"".join(e.body), e.response_bytes, self.ends, self.kept)


def tell(data: bytes, cuts: Sequence[int] = (), *, lost: Exception | None = None, close: bool = True) -> Told:
    """One request on a new connection, answered with `data` in pieces; then the connection ends."""
    ends: list[Exchange] = []
    pool, line = Pool(), Line()
    connection = Connection(pool)
    connection.connection_made(line)
    exchange = Exchange(ORIGIN, PAYLOAD, ends.append)
    connection.send(exchange)
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        if end > start and not line.aborted:
            connection.data_received(data[start:end])
    kept = bool(pool.kept) and not connection.closed
    if close:
        connection.connection_lost(lost)
    assert pool.resent == []
    return Told(exchange, len(ends), kept)


tokens = st.text("abcxyzABC-", min_size=1, max_size=12).map(lambda s: b"x-" + s.encode())
values = st.binary(max_size=20).map(lambda b: bytes(c for c in b if c >= 0x21 and c != 0x7F))
extra = st.lists(st.tuples(tokens, values), max_size=5)
bodies = st.one_of(st.just(b""), st.binary(max_size=200), st.just(b"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    old = draw(st.integers(0, 4)) == 0
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 404, 429, 500, 503]))
    connection = draw(st.sampled_from([b"", b"close", b"keep-alive", b"Close", b"Keep-Alive"]))
    headers = draw(extra)
    if connection:
        headers = [*headers, (draw(st.sampled_from([b"Connection", b"connection"])), connection)]
    framing = draw(st.sampled_from(["length", "chunked", "close"])) if not old else "length"
    if status in (204, 304):
        body, framed, tail, wire = b"", [], [], b""
        framing = "length"
    else:
        body = draw(bodies)
        framed, tail, wire = _frame(draw, framing, body)
    headers = draw(st.permutations([*headers, *framed]))
    early = draw(
        st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hi\r\nlink: a\r\n\r\n" * 2])
    )
    reason = draw(st.sampled_from([b" OK", b" Not Quite", b" ", b""]))
    head = b"HTTP/1.%d %d%b\r\n" % (0 if old else 1, status, reason)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    keeps = framing != "close" and (connection.lower() == b"keep-alive" if old else connection.lower() != b"close")
    return Answer(early + head + lines + b"\r\n" + wire, status, [*headers, *tail], body, keeps, framing == "close")


def _frame(
    draw: st.DrawFn, framing: str, body: bytes
) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]], bytes]:
    """(headers that say it, trailers, bytes) of a body."""
    if framing == "length":
        return [(draw(st.sampled_from([b"Content-Length", b"content-length"])), b"%d" % len(body))], [], body
    if framing == "close":
        return [], [], body
    tail = draw(st.one_of(st.just([]), extra))
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(body)), max_size=4))), len(body)]
    note = draw(st.sampled_from([b"", b"", b";note=1"]))
    pieces = b"".join(b"%X%b\r\n%b\r\n" % (b - a, note, body[a:b]) for a, b in pairwise(cuts) if b > a)
    end = b"0\r\n" + b"".join(b"%b: %b\r\n" % header for header in tail) + b"\r\n"
    return [(b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"])))], tail, pieces + end


@given(st.data())
def test_an_answer_is_read_as_it_was_meant_however_it_is_cut(data):
    meant = data.draw(answers())
    cuts = data.draw(st.lists(st.integers(0, len(meant.wire)), max_size=10))
    told = tell(meant.wire, cuts)
    assert told.facts() == (meant.status, None, meant.headers, meant.body, len(meant.wire), 1, meant.keeps)


@given(answers())
def test_byte_by_byte_it_is_the_same(meant):
    assert tell(meant.wire, range(len(meant.wire))).facts() == tell(meant.wire).facts()


@given(st.data())
def test_an_answer_that_was_cut_short_is_no_whole_one_and_ends_once(data):
    meant = data.draw(answers())
    short = data.draw(st.integers(0, len(meant.wire) - 1))
    lost = data.draw(st.sampled_from([None, ConnectionResetError()]))
    told = tell(meant.wire[:short], data.draw(st.lists(st.integers(0, short), max_size=3)), lost=lost)
    assert told.ends == 1
    assert not told.kept
    if told.exchange.failure is None:  # only an answer whose end is that of its connection cannot be told from a whole
        assert meant.until_close
        assert lost is None
        assert meant.body.startswith(b"".join(told.exchange.body))
    else:
        assert told.exchange.failure == (Failure.CLOSED_EARLY if lost is None else Failure.RESET)


mutations = st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["put", "drop", "double"]), st.binary(max_size=3)))


def mutated(data: bytes, changes: Sequence[tuple[int, str, bytes]]) -> bytes:
    for place, what, new in changes:
        at = place % (len(data) + 1)
        if what == "put":
            data = data[:at] + new + data[at + len(new) :]
        elif what == "drop":
            data = data[:at] + data[at + 1 + len(new) :]
        else:
            data = data[:at] + data[max(0, at - 20) : at] + data[at:]
    return data


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_comes_ends_once_and_is_cut_anywhere_to_the_same_end(data):
    noise = data.draw(
        st.one_of(
            st.binary(max_size=300),
            st.builds(lambda meant, changes: mutated(meant.wire, changes), answers(), mutations),
            st.builds(lambda a, b: a.wire + b.wire, answers(), answers()),
        )
    )
    cuts = data.draw(st.lists(st.integers(0, len(noise)), max_size=6))
    whole, pieces = tell(noise), tell(noise, cuts)
    assert (whole.ends, pieces.ends) == (1, 1)
    assert (whole.exchange.status, whole.exchange.failure) == (pieces.exchange.status, pieces.exchange.failure)
    if whole.exchange.failure is None:
        assert b"".join(whole.exchange.body) == b"".join(pieces.exchange.body)


@given(answers(), st.binary(min_size=1, max_size=50))
def test_what_comes_after_an_answer_never_becomes_the_next_one(meant, surplus):
    """The connection is dropped, or the next answer is refused: never mixed up."""
    if not meant.keeps:
        return
    pool, line, ends = Pool(), Line(), []
    connection = Connection(pool)
    connection.connection_made(line)
    connection.send(Exchange(ORIGIN, PAYLOAD, ends.append))
    connection.data_received(meant.wire + surplus)
    if connection.closed:
        return
    following = Exchange(ORIGIN, PAYLOAD, ends.append)
    connection.send(following)
    connection.data_received(answer(b"right"))
    connection.connection_lost(None)
    assert len(ends) == 2
    whole = following.failure is None
    assert (
        b"".join(following.body) == b"right"
        if whole
        else following.failure
        in (
            Failure.PROTOCOL,
            Failure.CLOSED_EARLY,
        )
    )


def test_an_idle_connection_that_ends_takes_its_request_elsewhere_once():
    pool, line, ends = Pool(), Line(), []
    connection = Connection(pool)
    connection.connection_made(line)
    exchange = Exchange(ORIGIN, PAYLOAD, ends.append)
    exchange.reused = True
    connection.send(exchange)
    connection.connection_lost(None)
    assert (pool.resent, ends, exchange.resends) == ([exchange], [], 1)


WELL = (answer(b"hello"), chunked(b"he", b"llo"), b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nhello")


def noise(draw: random.Random) -> bytes:
    """A well-formed answer, spoilt in some way or not at all."""
    data = bytearray(draw.choice(WELL))
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            data[at:at] = draw.randbytes(draw.randrange(1, 8))
        elif kind == 1:
            del data[at : at + draw.randrange(1, 9)]
        elif kind == 2:
            del data[at:]
        else:
            data[at:at] = data[: draw.randrange(40)]
    return bytes(data)


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_real_connection_each_request_ends_once_in_time_and_nothing_is_said_to_the_loop(seed):
    draw = random.Random(seed)
    said: list[object] = []
    ends: list[Exchange] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    async def behave(talk: Talk) -> None:
        while await talk.hear():
            data = noise(draw)
            at = draw.randrange(len(data) + 1)
            await talk.say(data[:at])
            await asyncio.sleep(0)
            await talk.say(data[at:])
            how = draw.randrange(4)
            if how == 0:
                return
            if how == 1:
                talk.reset()
                return

    async with serving(behave) as server:
        wire = WireTransport(Limits.seconds(5, 0.1, 0.1, 1.0))
        origin = Origin.of(httpx.URL(server.url))

        async def user() -> None:
            for _ in range(25):
                exchange = wire.start(origin, PAYLOAD, on_end=ends.append)
                await asyncio.wait_for(exchange.done, 20)
                wire.settle(exchange)

        await asyncio.gather(*(user() for _ in range(8)))
        await wire.aclose()
    assert len(ends) == len(set(ends)) == 200
    assert said == []
