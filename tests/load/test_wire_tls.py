"""TLS with a certificate made for the test: who is trusted is said, and everything else is a failure with a name."""

import asyncio
import ssl
from pathlib import Path

import pytest

from storage.records import Failure
from tasks.load.wire import Exchange, Limits, Origin, WireTransport
from tests.fakes.certificates import certificate as make_certificate
from tests.fakes.certificates import shows
from tests.fakes.servers import Talk, always, answer, serving

PAYLOAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "both.pem", "localhost")


@pytest.fixture
def serverside(certificate: Path) -> ssl.SSLContext:
    return shows(certificate)


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def ask(wire: WireTransport, host: str, port: int) -> Exchange:
    exchange = wire.start(Origin("https", host, port), PAYLOAD)
    await asyncio.wait_for(exchange.done, 10)
    return exchange


async def test_a_trusted_server_is_spoken_to_and_the_handshake_has_its_stamp(serverside, trusting):
    async with serving(always(answer(b"secret")), tls=serverside) as server:
        wire = WireTransport(tls=trusting)
        first, second = await ask(wire, "localhost", server.port), await ask(wire, "localhost", server.port)
        await wire.aclose()
    assert [(e.failure, e.status, b"".join(e.body)) for e in (first, second)] == [(None, 200, b"secret")] * 2
    assert server.requests == [PAYLOAD] * 2
    assert first.connected_ns <= first.tls_ns <= first.sent_ns
    assert (second.reused, second.tls_ns, server.connections) == (True, None, 1)


async def test_a_name_that_is_not_in_the_certificate_is_refused(serverside, trusting):
    async with serving(always(answer()), tls=serverside) as server:
        wire = WireTransport(tls=trusting)
        exchange = await ask(wire, "127.0.0.1", server.port)
        await wire.aclose()
    assert (exchange.failure, exchange.status, exchange.sent_ns, server.requests) == (Failure.TLS, None, 0, [])


async def test_a_certificate_that_nobody_vouches_for_is_refused_without_being_told_to(serverside):
    async with serving(always(answer()), tls=serverside) as server:
        wire = WireTransport()
        exchange = await ask(wire, "localhost", server.port)
        await wire.aclose()
    assert (exchange.failure, server.requests) == (Failure.TLS, [])


async def closes_at_once(talk: Talk) -> None:
    await talk.reader.read(1)


async def resets_at_once(talk: Talk) -> None:
    await talk.reader.read(1)
    talk.reset()


async def greets_in_plain_text(talk: Talk) -> None:
    await talk.say(b"SSH-2.0-OpenSSH_9.2\r\n")
    await talk.reader.read()


@pytest.mark.parametrize("behave", [closes_at_once, resets_at_once, greets_in_plain_text])
async def test_a_server_that_does_not_speak_tls_fails_in_the_handshake(trusting, behave):
    async with serving(behave) as server:
        wire = WireTransport(tls=trusting)
        exchange = await ask(wire, "127.0.0.1", server.port)
        await wire.aclose()
    assert (exchange.failure, exchange.sent_ns) == (Failure.TLS, 0)


async def test_a_handshake_that_never_ends_is_a_connect_timeout(trusting):
    async with serving(Talk.silence) as server:
        wire = WireTransport(Limits.seconds(0.2, 5, 5, 5), tls=trusting)
        exchange = await ask(wire, "127.0.0.1", server.port)
        await wire.aclose()
    assert exchange.failure == Failure.TIMEOUT_CONNECT
