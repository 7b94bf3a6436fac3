"""The wire against servers that say exactly these bytes, on asyncio's loop and on uvloop's."""

import asyncio
import gc
import socket
import tracemalloc

import httpx
import pytest

from storage.records import Failure
from tasks.load.connection import Connection
from tasks.load.wire import Exchange, Limits, Origin, WireTransport
from tests.fakes.servers import Behaviour, Server, Talk, always, answer, chunked, says, serving, then_silent

PAYLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
SHORT = Limits.seconds(connect=0.3, first_byte=0.3, idle=0.3, total=5.0)


def origin_of(server: Server) -> Origin:
    return Origin.of(httpx.URL(server.url))


async def ask(wire: WireTransport, server: Server) -> Exchange:
    exchange = wire.start(origin_of(server), PAYLOAD)
    await asyncio.wait_for(asyncio.shield(exchange.done), 10)
    wire.settle(exchange)
    return exchange


async def ask_once(behave: Behaviour, limits: Limits | None = None, host: str = "127.0.0.1") -> Exchange:
    async with serving(behave, host=host) as server:
        wire = WireTransport(limits)
        try:
            return await ask(wire, server)
        finally:
            await wire.aclose()


def then_reset(*pieces: bytes) -> Behaviour:
    async def behave(talk: Talk) -> None:
        await talk.hear()
        for piece in pieces:
            await talk.say(piece)
        await asyncio.sleep(0.05)  # a reset overtakes what was not yet read
        talk.reset()

    return behave


def body_of(exchange: Exchange) -> bytes:
    return b"".join(exchange.body)


async def test_the_request_arrives_as_it_was_prepared_and_the_answer_as_it_was_sent():
    async with serving(always(answer(b"hello", extra=b"X-One: 1\r\n"))) as server:
        wire = WireTransport()
        exchange = await ask(wire, server)
        await wire.aclose()
    assert server.requests == [PAYLOAD]
    assert (exchange.status, exchange.failure, body_of(exchange)) == (200, None, b"hello")
    assert (exchange.header(b"x-one"), exchange.header(b"x-two")) == ("1", None)
    assert exchange.response_bytes == len(answer(b"hello", extra=b"X-One: 1\r\n"))


async def test_stamps_come_in_the_order_of_things():
    exchange = await ask_once(always(answer()))
    assert exchange.started_ns <= exchange.connected_ns <= exchange.sent_ns <= exchange.headers_ns <= exchange.end_ns
    assert (exchange.dns_ns, exchange.tls_ns) == (None, None)


async def test_a_connection_is_used_again_and_then_has_no_connect_time():
    async with serving(always(answer())) as server:
        wire = WireTransport()
        seen = [await ask(wire, server) for _ in range(3)]
        await wire.aclose()
    assert server.connections == 1
    assert [e.reused for e in seen] == [False, True, True]
    assert [e.connected_ns is None for e in seen] == [False, True, True]


async def test_requests_at_the_same_time_have_connections_of_their_own():
    async with serving(always(answer())) as server:
        wire = WireTransport()
        await asyncio.gather(*(ask(wire, server) for _ in range(5)))
        await wire.aclose()
    assert server.connections == 5


async def test_a_chunked_body_is_put_together_and_its_connection_kept():
    async with serving(always(chunked(b"one ", b"two ", b"three"))) as server:
        wire = WireTransport()
        first, second = await ask(wire, server), await ask(wire, server)
        await wire.aclose()
    assert (body_of(first), body_of(second)) == (b"one two three",) * 2
    assert server.connections == 1


@pytest.mark.parametrize("response", [answer(b"hello"), chunked(b"he", b"llo")], ids=["length", "chunked"])
async def test_byte_by_byte_it_is_the_same_answer(response):
    async def behave(talk: Talk) -> None:
        while await talk.hear():
            await talk.spell(response)

    async with serving(behave) as server:
        wire = WireTransport()
        first, second = await ask(wire, server), await ask(wire, server)
        await wire.aclose()
    assert [(e.status, e.failure, body_of(e)) for e in (first, second)] == [(200, None, b"hello")] * 2
    assert server.connections == 1


async def test_without_a_length_the_body_ends_with_the_connection():
    exchange = await ask_once(says(b"HTTP/1.1 200 OK\r\n\r\n", b"all ", b"of it"))
    assert (exchange.failure, body_of(exchange)) == (None, b"all of it")


async def test_a_reset_is_no_end_of_a_body_without_a_length():
    exchange = await ask_once(then_reset(b"HTTP/1.1 200 OK\r\n\r\n", b"half"))
    assert (exchange.status, exchange.failure) == (200, Failure.RESET)


@pytest.mark.parametrize("hint", [b"100 Continue", b"103 Early Hints\r\nlink: </x>"])
async def test_an_informational_answer_is_passed_over(hint):
    exchange = await ask_once(says(b"HTTP/1.1 %b\r\n\r\n" % hint, answer(b"x", extra=b"a: b\r\n")))
    assert (exchange.status, exchange.failure, body_of(exchange)) == (200, None, b"x")
    assert [name for name, _ in exchange.headers] == [b"a", b"content-length"]


async def test_a_connection_that_is_to_close_is_not_used_again():
    async with serving(always(answer(extra=b"Connection: close\r\n"))) as server:
        wire = WireTransport()
        seen = [await ask(wire, server) for _ in range(2)]
        await wire.aclose()
    assert server.connections == 2
    assert [(e.failure, e.reused, e.resends) for e in seen] == [(None, False, 0)] * 2


async def test_an_answer_without_a_body_is_whole():
    exchange = await ask_once(then_silent(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (exchange.status, exchange.failure, exchange.body) == (204, None, [])


async def closes_after_the_first(talk: Talk) -> None:
    """The first connection answers once and closes as soon as a second request comes on it."""
    await talk.hear()
    await talk.say(answer(b"%d" % talk.number))
    await talk.hear()
    if talk.number > 1:
        await talk.say(answer(b"again"))


async def test_a_request_on_a_connection_that_was_being_closed_is_sent_once_more_and_it_is_said():
    async with serving(closes_after_the_first) as server:
        wire = WireTransport()
        first, second = await ask(wire, server), await ask(wire, server)
        await wire.aclose()
    assert (first.resends, body_of(first)) == (0, b"1")
    assert (second.failure, second.resends, second.reused, body_of(second)) == (None, 1, False, b"2")
    assert server.requests == [PAYLOAD] * 3
    assert second.sent_ns <= second.connected_ns  # the first sending counts: the target took that time


async def test_it_is_not_sent_a_third_time():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        if talk.number == 1:
            await talk.say(answer())
            await talk.hear()
        talk.reset()

    async with serving(behave) as server:
        wire = WireTransport()
        await ask(wire, server)
        second = await ask(wire, server)
        await wire.aclose()
    assert (second.failure, second.resends, server.connections) == (Failure.RESET, 1, 2)


async def test_a_request_that_was_half_answered_is_not_sent_again():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer())
        await talk.hear()
        await talk.say(b"HTTP/1.1 200")

    async with serving(behave) as server:
        wire = WireTransport()
        await ask(wire, server)
        second = await ask(wire, server)
        await wire.aclose()
    assert (second.failure, second.resends, server.connections) == (Failure.CLOSED_EARLY, 0, 1)


async def test_an_idle_connection_that_the_server_closed_is_forgotten():
    async with serving(says(answer())) as server:
        wire = WireTransport()
        await ask(wire, server)
        await asyncio.sleep(0.1)
        second = await ask(wire, server)
        await wire.aclose()
    assert (second.failure, second.resends, server.connections) == (None, 0, 2)


@pytest.mark.parametrize(
    ("behave", "failure", "status"),
    [
        (says(), Failure.CLOSED_EARLY, None),
        (says(b"HTTP/1.1 200 OK\r\ncont"), Failure.CLOSED_EARLY, None),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Failure.CLOSED_EARLY, 200),
        (says(chunked(b"one", b"two")[:-5]), Failure.CLOSED_EARLY, 200),
        (then_reset(), Failure.RESET, None),
        (then_reset(b"HTTP/1.1 200 OK\r\ncont"), Failure.RESET, None),
        (then_reset(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Failure.RESET, 200),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), Failure.PROTOCOL, None),
        (says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n"), Failure.PROTOCOL, 200),
        (says(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Failure.PROTOCOL, None),
        (says(answer(extra=b"x: " + b"y" * 300_000 + b"\r\n")), Failure.PROTOCOL, None),
        (says(answer(extra=b"x: 123456789\r\n" * 40_000)), Failure.PROTOCOL, None),
    ],
)
async def test_a_broken_answer_has_its_name(behave, failure, status):
    exchange = await ask_once(behave)
    assert (exchange.failure, exchange.status) == (failure, status)


async def test_a_server_that_reads_nothing_is_cut_at_the_timeout_and_its_request_is_not_kept():
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000)
    async with serving(Talk.silence) as server:
        wire = WireTransport(SHORT)
        await ask(wire, server)  # there is a connection before the memory is looked at
        tracemalloc.start()
        for _ in range(4):
            exchange = wire.start(origin_of(server), upload)
            await asyncio.wait_for(exchange.done, 10)
            wire.settle(exchange)
            assert exchange.failure == Failure.TIMEOUT_FIRST_BYTE
        await asyncio.sleep(0.05)
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await wire.aclose()
    assert kept < 10_000_000
    assert most < 120_000_000  # one copy more than the request itself


async def test_fifty_megabytes_both_ways():
    body = bytes(range(256)) * 200_000
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(always(answer(body))) as server:
        wire = WireTransport()
        exchange = wire.start(origin_of(server), upload)
        await asyncio.wait_for(exchange.done, 60)
        await wire.aclose()
    assert (exchange.failure, body_of(exchange) == body, server.requests == [upload]) == (None, True, True)


async def test_a_refusal_that_comes_before_the_whole_request_was_sent_costs_the_connection():
    async def behave(talk: Talk) -> None:
        if talk.number == 1:
            await talk.reader.readuntil(b"\r\n\r\n")
            await talk.say(answer(status=b"413 Too Large"))
            await talk.silence()
        await always(answer())(talk)

    upload = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000)
    async with serving(behave) as server:
        wire = WireTransport()
        first = wire.start(origin_of(server), upload)
        await asyncio.wait_for(first.done, 10)
        second = await ask(wire, server)
        await wire.aclose()
    assert (first.status, first.failure, second.status, second.reused) == (413, None, 200, False)


async def never_ends_its_headers(talk: Talk) -> None:
    await talk.hear()
    await talk.say(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        await talk.say(b"y" * 50_000)
        await asyncio.sleep(0)


async def only_hints(talk: Talk) -> None:
    await talk.hear()
    while True:
        await talk.say(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100)
        await asyncio.sleep(0)


@pytest.mark.parametrize("behave", [never_ends_its_headers, only_hints])
async def test_headers_without_an_end_are_no_answer(behave):
    exchange = await ask_once(behave)
    assert (exchange.failure, exchange.status) == (Failure.PROTOCOL, None)


async def test_idle_connections_that_were_closed_are_let_go_of():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer())

    async with serving(behave) as server:
        wire = WireTransport(SHORT)
        await asyncio.gather(*(ask(wire, server) for _ in range(20)))
        await asyncio.sleep(0.1)
        for _ in range(3):
            await ask(wire, server)
            await asyncio.sleep(0.05)
        gc.collect()
        alive = [one for one in gc.get_objects() if isinstance(one, Connection) and one._pool is wire]
        await wire.aclose()
    assert len(alive) < 5


async def test_trailers_come_after_the_headers_and_stay_with_their_answer():
    whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-late: 1\r\nx-later: 2\r\n\r\n"
    async with serving(always(whole)) as server:
        wire = WireTransport()
        seen = [await ask(wire, server) for _ in range(2)]
        await wire.aclose()
    assert [[name for name, _ in e.headers] for e in seen] == [[b"transfer-encoding", b"x-late", b"x-later"]] * 2
    assert (server.connections, body_of(seen[1])) == (1, b"hi")


async def test_http_1_0_keeps_a_connection_only_where_it_says_so():
    kept = answer(b"x", extra=b"connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    plain = answer(b"x").replace(b"HTTP/1.1", b"HTTP/1.0")
    connections = []
    for response in (kept, plain):
        async with serving(always(response)) as server:
            wire = WireTransport()
            assert [body_of(await ask(wire, server)) for _ in range(3)] == [b"x"] * 3
            await wire.aclose()
        connections.append(server.connections)
    assert connections == [1, 3]


async def test_a_mistake_of_ours_in_the_middle_of_an_answer_is_said_aloud_and_the_exchange_ends():
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    def stumble(exchange: Exchange) -> None:
        raise ZeroDivisionError

    async with serving(always(answer())) as server:
        wire = WireTransport()
        exchange = wire.start(origin_of(server), PAYLOAD, on_headers=stumble)
        await asyncio.wait_for(exchange.done, 10)
        await wire.aclose()
        await asyncio.sleep(0.05)
    assert exchange.failure == Failure.PROTOCOL
    assert len(said) == 1


async def test_a_mistake_of_ours_before_the_request_is_said_aloud_and_the_exchange_ends():
    async def mistaken(host: str, port: int) -> list[str]:
        raise RuntimeError("a mistake")

    said: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["exception"]))
    wire = WireTransport(SHORT, resolve=mistaken)
    exchange = wire.start(Origin("http", "gateway.test", 80), PAYLOAD)
    await asyncio.wait_for(exchange.done, 10)
    await wire.aclose()
    gc.collect()  # a task that failed and is asked by nobody says so when it goes
    await asyncio.sleep(0)
    assert exchange.failure is Failure.CONNECT
    assert [str(error) for error in said] == ["a mistake"]


async def goes_on_for_ever(talk: Talk) -> None:
    await talk.hear()
    await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await talk.say(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


async def test_a_body_without_an_end_is_no_answer_and_is_not_kept_for_ever():
    async with serving(goes_on_for_ever) as server:
        wire = WireTransport(Limits.seconds(60, 60, 60, 60), most_bytes=1_000_000)
        exchange = await ask(wire, server)
        assert (exchange.failure, exchange.status) == (Failure.PROTOCOL, 200)
        await wire.aclose()
        wire = WireTransport(Limits.seconds(10, 10, 10, 0.5), most_bytes=1_000_000)
        exchange = wire.start(origin_of(server), PAYLOAD)
        exchange.on_body = lambda data, now: None  # who reads it as it comes needs no room for it
        await asyncio.wait_for(exchange.done, 30)
        await wire.aclose()
        assert (exchange.failure, exchange.response_bytes > 1_000_000) == (Failure.TIMEOUT_TOTAL, True)


async def test_a_large_header_that_is_not_huge_is_read():
    exchange = await ask_once(says(answer(b"ok", extra=b"x: " + b"y" * 100_000 + b"\r\n")))
    assert (exchange.failure, body_of(exchange)) == (None, b"ok")


@pytest.mark.parametrize(
    "surplus",
    [b"junk", answer(b"unasked"), answer(b"unasked")[:-3]],
    ids=["junk", "a whole answer", "most of an answer"],
)
async def test_what_nobody_asked_for_never_becomes_the_next_answer(surplus):
    async def behave(talk: Talk) -> None:
        while await talk.hear():
            await talk.say(answer(b"right") + (surplus if talk.number == 1 else b""))

    async with serving(behave) as server:
        wire = WireTransport()
        seen = [await ask(wire, server) for _ in range(3)]
        await wire.aclose()
    assert [(e.failure, body_of(e)) for e in seen] == [(None, b"right")] * 3


async def test_half_a_header_that_nobody_asked_for_spoils_the_next_answer_which_is_said():
    async def behave(talk: Talk) -> None:
        while await talk.hear():
            await talk.say(answer(b"right") + (b"HTTP/1.1 200 OK\r\ncont" if talk.number == 1 else b""))

    async with serving(behave) as server:
        wire = WireTransport()
        failures = [(await ask(wire, server)).failure for _ in range(3)]
        await wire.aclose()
    assert failures == [None, Failure.PROTOCOL, None]


async def test_bytes_on_an_idle_connection_end_it():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer(b"right"))
        await asyncio.sleep(0.05)
        await talk.say(b"hello?")
        await talk.silence()

    async with serving(behave) as server:
        wire = WireTransport()
        await ask(wire, server)
        await asyncio.sleep(0.15)
        second = await ask(wire, server)
        await wire.aclose()
    assert (server.connections, second.failure, second.reused, body_of(second)) == (2, None, False, b"right")


def closed_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


@pytest.mark.parametrize(
    ("origin", "failure"),
    [
        (Origin("http", "127.0.0.1", closed_port()), Failure.CONNECT),
        (Origin("http", "nonexistent.invalid", 80), Failure.DNS),
        (Origin("http", "a..b", 80), Failure.DNS),
        (Origin("http", "x" * 70 + ".invalid", 80), Failure.DNS),
    ],
    ids=["refused", "no such name", "an empty label", "a label too long"],
)
async def test_nobody_there_has_its_name(origin, failure):
    wire = WireTransport()
    exchange = wire.start(origin, PAYLOAD)
    await asyncio.wait_for(exchange.done, 10)
    await wire.aclose()
    assert (exchange.failure, exchange.status, exchange.sent_ns, exchange.response_bytes) == (failure, None, 0, 0)


@pytest.mark.parametrize(
    ("behave", "limits", "failure", "since"),
    [
        (then_silent(), Limits.seconds(5, 0.1, 5, 5), Failure.TIMEOUT_FIRST_BYTE, "sent_ns"),
        (then_silent(b"HTTP/1.1 200 OK\r\n\r\nhalf"), Limits.seconds(5, 5, 0.1, 5), Failure.TIMEOUT_IDLE, "read_ns"),
        (then_silent(b"HTTP/1.1 2"), Limits.seconds(5, 5, 0.1, 5), Failure.TIMEOUT_IDLE, "read_ns"),
        (then_silent(), Limits.seconds(5, 5, 5, 0.1), Failure.TIMEOUT_TOTAL, "started_ns"),
    ],
    ids=["first byte", "idle in the body", "idle in the headers", "total"],
)
async def test_a_silent_server_is_cut_off_at_the_timeout_or_later_never_before(behave, limits, failure, since):
    exchange = await ask_once(behave, limits)
    assert exchange.failure == failure
    assert exchange.end_ns - getattr(exchange, since) >= 100_000_000


async def test_a_server_that_drips_for_ever_is_cut_off_in_the_end():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.say(b".")
            await asyncio.sleep(0.01)

    exchange = await ask_once(behave, Limits.seconds(5, 5, 5, 0.2))
    assert exchange.failure == Failure.TIMEOUT_TOTAL
    assert len(exchange.body) > 1


async def test_a_pause_shorter_than_the_timeout_is_no_failure():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        for piece in (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", b"a", b"b", b"c"):
            await talk.say(piece)
            await asyncio.sleep(0.3)
        await talk.silence()

    exchange = await ask_once(behave, Limits.seconds(connect=5, first_byte=5, idle=0.8, total=10))  # three pauses: 0.9
    assert (exchange.failure, body_of(exchange)) == (None, b"abc")


async def test_a_backlog_that_takes_nobody_in_is_a_connect_timeout():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen(0)
        port = line.getsockname()[1]
        wire = WireTransport(Limits.seconds(0.2, 5, 5, 5))
        seen = [wire.start(Origin("http", "127.0.0.1", port), PAYLOAD) for _ in range(4)]
        await asyncio.wait_for(asyncio.wait([e.done for e in seen], return_when=asyncio.FIRST_COMPLETED), 10)
        failures = {e.failure for e in seen if e.end_ns}
        await wire.aclose()
    assert failures == {Failure.TIMEOUT_CONNECT}


async def test_what_is_under_way_when_it_is_closed_is_cancelled():
    async with serving(then_silent()) as server:
        wire = WireTransport()
        exchange = wire.start(origin_of(server), PAYLOAD)
        await asyncio.sleep(0.05)
        await wire.aclose()
        await asyncio.wait_for(exchange.done, 5)
    assert exchange.failure == Failure.CANCELLED


async def test_an_answer_that_comes_after_the_abort_belongs_to_nobody():
    async def behave(talk: Talk) -> None:
        await talk.hear()
        await asyncio.sleep(0.1)
        await talk.say(answer(b"%d" % talk.number))
        await talk.silence()

    async with serving(behave) as server:
        wire = WireTransport()
        first = wire.start(origin_of(server), PAYLOAD)
        await asyncio.sleep(0.05)
        first.abort(Failure.CENSORED)
        second = await ask(wire, server)
        await wire.aclose()
    assert (first.failure, first.status, body_of(second)) == (Failure.CENSORED, None, b"2")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as line:
            line.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
async def test_an_address_of_the_sixth_version():
    exchange = await ask_once(always(answer(b"six")), host="::1")
    assert (exchange.origin.host, exchange.failure, body_of(exchange)) == ("::1", None, b"six")


async def test_a_name_is_looked_up_and_its_next_address_tried():
    async with serving(always(answer(b"x"))) as server:  # listens on the IPv4 address of localhost only
        wire = WireTransport()
        exchange = wire.start(Origin("http", "localhost", server.port), PAYLOAD)
        await asyncio.wait_for(exchange.done, 10)
        await wire.aclose()
    assert (exchange.failure, body_of(exchange)) == (None, b"x")
    assert exchange.started_ns <= exchange.dns_ns <= exchange.connected_ns
