"""Names, addresses in turn, proxies and authorities: what comes before the first byte of a request."""

import asyncio
import errno
import socket
import ssl
from itertools import pairwise

import httpx
import pytest

from storage.errors import UsageError
from storage.records import Failure
from tasks.load.dial import authorities, failure_of
from tasks.load.exchange import Exchange, Limits, Origin
from tasks.load.other import HttpxSender
from tasks.load.senders import make_sender
from tasks.load.wire import WireTransport
from tests.fakes.certificates import certificate
from tests.fakes.servers import Talk, always, answer, serving

PAYLOAD = b"POST /v1 HTTP/1.1\r\nHost: gateway.invalid\r\nContent-Length: 2\r\n\r\nhi"
LIMITS = Limits.seconds(1.0, 5, 5, 5)


def at(*addresses: str):
    """A resolver that knows one name."""

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "gateway.invalid"
        return list(addresses)

    return resolve


async def ask(sender: WireTransport | HttpxSender, origin: Origin) -> Exchange:
    exchange = sender.start(origin, PAYLOAD)
    await asyncio.wait_for(exchange.done, 20)
    sender.settle(exchange)
    await sender.aclose()
    return exchange


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("127.0.0.2", "127.0.0.1"),
        ("::1", "127.0.0.1", "127.0.0.3"),
        ("127.0.0.2", "2001:db8::1", "127.0.0.1"),
    ],
)
async def test_each_address_is_tried_until_one_takes_us_in(addresses):
    async with serving(always(answer(b"x"))) as server:  # on 127.0.0.1 only
        wire = WireTransport(LIMITS, resolve=at(*addresses))
        exchange = await ask(wire, Origin("http", "gateway.invalid", server.port))
    assert (exchange.failure, b"".join(exchange.body)) == (None, b"x")
    assert exchange.started_ns <= exchange.dns_ns <= exchange.connected_ns


async def test_an_address_that_says_nothing_does_not_use_up_the_time_of_the_next():
    with socket.socket() as full:  # a backlog that is full: connecting to it hangs
        full.bind(("127.0.0.9", 0))
        full.listen(0)
        port = full.getsockname()[1]
        stuffing = [socket.socket() for _ in range(4)]
        for line in stuffing:
            line.setblocking(False)
            line.connect_ex(("127.0.0.9", port))
        answering = await asyncio.start_server(_once, "127.0.0.1", port)
        exchange = await ask(WireTransport(LIMITS, resolve=at("127.0.0.9", "127.0.0.1")), origin(port))
        alone = await ask(WireTransport(LIMITS, resolve=at("127.0.0.9")), origin(port))
        answering.close()
        for line in stuffing:
            line.close()
    assert (exchange.failure, b"".join(exchange.body)) == (None, b"x")
    assert alone.failure == Failure.TIMEOUT_CONNECT


async def _once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"hi")
    writer.write(answer(b"x"))
    await writer.drain()
    writer.close()


def origin(port: int) -> Origin:
    return Origin("http", "gateway.invalid", port)


async def test_where_no_address_answers_the_last_refusal_is_told():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        exchange = await ask(WireTransport(LIMITS, resolve=at("127.0.0.1", "::1")), origin(line.getsockname()[1]))
    assert (exchange.failure, exchange.connected_ns) == (Failure.CONNECT, None)


async def test_a_name_without_an_address_is_no_name():
    assert (await ask(WireTransport(LIMITS, resolve=at()), origin(80))).failure == Failure.DNS


@pytest.mark.parametrize("host", ["nonexistent.invalid", "a..b", "x" * 70])
async def test_a_name_that_nobody_has_or_could_have(host):
    assert (await ask(WireTransport(LIMITS), Origin("http", host, 80))).failure == Failure.DNS


def caused_by(*causes: BaseException) -> BaseException:
    for error, cause in pairwise(causes):
        error.__cause__ = cause
    return causes[0]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), Failure.CONNECT),
        (OSError(errno.EADDRNOTAVAIL, "no port"), Failure.LOCAL),
        (OSError(errno.EMFILE, "no descriptor"), Failure.LOCAL),
        (socket.gaierror(socket.EAI_NONAME, "no name"), Failure.DNS),
        (TimeoutError(), Failure.TIMEOUT_CONNECT),
        (ssl.SSLCertVerificationError("no"), Failure.TLS),
        (caused_by(httpx.ConnectError("no"), OSError("no"), OSError(errno.ENFILE, "none")), Failure.LOCAL),
        (caused_by(httpx.ConnectError("no"), ExceptionGroup("all", [OSError(errno.EMFILE, "x")])), Failure.LOCAL),
        (httpx.ConnectError("no"), Failure.CONNECT),
    ],
)
def test_what_went_wrong_has_its_name_however_it_is_wrapped(error, failure):
    assert failure_of(error) == failure


def test_a_connection_that_breaks_in_the_handshake_broke_in_the_handshake():
    assert failure_of(ConnectionResetError(), shaking_hands=True) == Failure.TLS


# --- who is trusted


@pytest.fixture
def trusted(environment, tmp_path):
    def put(text: bytes | None) -> None:
        path = tmp_path / "authorities.pem"
        if text is not None:
            path.write_bytes(text)
        environment("SSL_CERT_FILE", str(path))

    return put


def test_the_authorities_of_the_environment_take_the_place_of_the_system_s_file(trusted, tmp_path):
    trusted(certificate(tmp_path / "own.pem", "own.example").read_bytes())
    assert authorities().cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(("text", "reason"), [(None, "No such file"), (b"no PEM", "no certificate")])
def test_authorities_that_cannot_be_read_are_an_error_of_usage(trusted, text, reason):
    trusted(text)
    with pytest.raises(UsageError, match=f"SSL_CERT_FILE names .*authorities.pem.*{reason}.*name a PEM file"):
        make_sender("wire", "https://gateway.invalid/v1", LIMITS)


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_without_tls_nobody_asks_for_authorities(trusted, transport):
    trusted(None)
    sender = make_sender(transport, "http://gateway.invalid/v1", LIMITS)  # would raise, as above
    assert isinstance(sender, WireTransport) == (transport == "wire")
    await sender.aclose()


# --- proxies, which only httpx's transport uses


async def behind(proxy: Talk) -> None:
    while await proxy.hear():
        await proxy.say(answer(b"through"))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_asked_for_the_whole_address(environment, name):
    async with serving(behind) as proxy:
        environment(name.lower(), proxy.url)
        exchange = await ask(make_sender("httpx", "http://gateway.invalid/v1", LIMITS), origin(80))
    assert b"".join(exchange.body) == b"through"
    assert proxy.requests[0].startswith(b"POST http://gateway.invalid")


async def test_a_tunnel_is_asked_for_where_the_target_has_tls(environment):
    async def refuses(talk: Talk) -> None:
        await talk.hear()
        await talk.say(answer(status=b"403 No"))

    async with serving(refuses) as proxy:
        environment("https_proxy", proxy.url)
        sender = make_sender("httpx", "https://gateway.invalid/v1", LIMITS)
        exchange = await ask(sender, Origin("https", "gateway.invalid", 443))
    assert proxy.requests[0].startswith(b"CONNECT gateway.invalid:443 HTTP/1.1\r\n")
    assert exchange.failure == Failure.CONNECT


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://localhost:1/v1", "http://inside.example:1/v1"])
async def test_neither_loopback_nor_the_hosts_of_no_proxy_go_through_it(environment, url):
    async with serving(behind) as proxy:
        environment("http_proxy", proxy.url)
        environment("no_proxy", "inside.example")
        sender = make_sender("httpx", url, LIMITS)
        exchange = await ask(sender, Origin.of(httpx.URL(url)))
    assert (exchange.failure in (Failure.CONNECT, Failure.DNS), proxy.requests) == (True, [])


async def test_the_wire_goes_to_the_server_itself(environment):
    async with serving(behind) as proxy, serving(always(answer(b"itself"))) as server:
        environment("http_proxy", proxy.url)
        exchange = await ask(make_sender("wire", server.url, LIMITS), Origin.of(httpx.URL(server.url)))
    assert (b"".join(exchange.body), proxy.requests) == (b"itself", [])


@pytest.mark.parametrize("proxy", ["gopher://me:secret@nowhere", "http://me:se/cret@nowhere"])
def test_a_proxy_that_cannot_be_one_is_an_error_of_usage_that_keeps_its_password(environment, proxy):
    environment("http_proxy", proxy)
    with pytest.raises(UsageError, match="the proxy of the environment is no address like http://") as refused:
        make_sender("httpx", "http://gateway.invalid/v1", LIMITS)
    assert "cret" not in repr(refused.value)
