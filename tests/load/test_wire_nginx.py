"""The wire, and httpx's transport, against nginx."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from storage.records import Failure
from tasks.load.exchange import Exchange, Limits, Origin
from tasks.load.wire import WireTransport
from tests.fakes.certificates import certificate
from tests.fakes.nginx import BINARY, Nginx, nginx

pytestmark = pytest.mark.skipif(BINARY is None, reason="nginx is not installed")

BIG = bytes(range(256)) * 4096 * 50  # 50 MB


@pytest.fixture(scope="module")
def web(tmp_path_factory, _simulator) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    pem = certificate(folder / "both.pem", "localhost", "127.0.0.1")
    with nginx(folder, _simulator.url.removeprefix("http://").split("/")[0], pem) as found:
        (found.files / "big").write_bytes(BIG)
        (found.files / "hello").write_bytes(b"hello")
        (found.files / "none").write_bytes(b"")
        yield found


@pytest.fixture
async def wire(web) -> AsyncIterator[WireTransport]:
    made = WireTransport(Limits.seconds(10, 10, 10, 60), tls=ssl.create_default_context(cafile=str(web.pem)))
    yield made
    await made.aclose()


def get(path: str, *lines: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode()


async def ask(wire: WireTransport, url: str, payload: bytes) -> Exchange:
    exchange = wire.start(Origin.of(httpx.URL(url)), payload)
    await asyncio.wait_for(exchange.done, 60)
    wire.settle(exchange)
    return exchange


def facts(exchange: Exchange) -> tuple[int | None, Failure | None, bytes]:
    return exchange.status, exchange.failure, b"".join(exchange.body)


@pytest.mark.parametrize("secure", [False, True])
async def test_files_of_any_size_one_connection(web, wire, secure):
    url = web.secure_url if secure else web.url
    seen = [await ask(wire, url, get(path)) for path in ("/hello", "/none", "/big", "/missing", "/moved", "/hello")]
    assert [(e.status, e.failure) for e in seen] == [(s, None) for s in (200, 200, 200, 404, 302, 200)]
    assert [b"".join(e.body) for e in seen[:3]] == [b"hello", b"", BIG]
    assert [e.reused for e in seen] == [False] + [True] * 5


async def test_fifty_megabytes_up(web, wire):
    upload = b"POST /swallow HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG
    assert [facts(await ask(wire, web.url, upload)) for _ in range(2)] == [(204, None, b"")] * 2


async def test_a_body_that_is_too_large_is_refused_before_it_was_sent_and_the_next_request_does_not_wait_for_it(
    web, wire
):
    upload = b"POST /small/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG
    refused = await ask(wire, web.url, upload)
    assert (refused.status, refused.failure) == (413, None)
    after = await ask(wire, web.url, get("/hello"))
    assert (facts(after), after.reused) == ((200, None, b"hello"), False)


async def test_an_http_1_0_request_gets_its_answer_and_the_connection_is_gone(web, wire):
    seen = [await ask(wire, web.url, get("/hello", version="1.0")) for _ in range(2)]
    assert [facts(e) for e in seen] == [(200, None, b"hello")] * 2
    assert [e.reused for e in seen] == [False, False]


@pytest.mark.parametrize(("path", "reused"), [("/once/", [False] * 6), ("/thrice/", [False, True, True] * 2)])
async def test_a_connection_is_used_as_long_as_the_server_says(web, wire, path, reused):
    seen = [await ask(wire, web.url, get(path + "hello")) for _ in range(6)]
    assert [facts(e) for e in seen] == [(200, None, b"hello")] * 6
    assert [e.reused for e in seen] == reused
    assert [e.resends for e in seen] == [0] * 6


async def test_a_server_that_closes_idle_connections_just_as_they_are_used_loses_nothing(web, wire):
    """Pauses about as long as its keepalive_timeout of 40 ms."""
    seen: list[Exchange] = []

    async def user(number: int) -> None:
        for k in range(12):
            seen.append(await ask(wire, web.url, get("/hasty/hello")))
            await asyncio.sleep(0.036 + 0.001 * ((k + number) % 9))

    await asyncio.gather(*(user(number) for number in range(20)))
    assert {facts(e) for e in seen} == {(200, None, b"hello")}
    assert {e.resends for e in seen} <= {0, 1}
    assert len(seen) == 240


@pytest.mark.parametrize(("path", "status"), [("/silent/", 504), ("/nobody/", 502)])
async def test_what_a_proxy_says_of_its_upstream(web, wire, path, status):
    seen = [await ask(wire, web.url, get(path)) for _ in range(2)]
    assert [(e.status, e.failure) for e in seen] == [(status, None)] * 2


async def test_nothing_is_compressed_for_who_does_not_ask(web, wire):
    plain = await ask(wire, web.url, get("/zipped/hello"))
    assert (facts(plain), plain.header(b"content-encoding")) == ((200, None, b"hello"), None)
    asked = await ask(wire, web.url, get("/zipped/hello", "Accept-Encoding: gzip"))
    assert (asked.header(b"content-encoding"), asked.header(b"transfer-encoding")) == ("gzip", "chunked")


async def test_heads_conditions_and_ranges_through_httpx(web, wire):
    async with httpx.AsyncClient(transport=wire, base_url=web.url) as http:
        whole = await http.get("/hello")
        head = await http.head("/big")
        same = await http.get("/hello", headers={"If-None-Match": whole.headers["etag"]})
        part = await http.get("/big", headers={"Range": "bytes=256-259"})
        zipped = await http.get("/zipped/hello")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(BIG)), b"")
    assert (same.status_code, same.content) == (304, b"")
    assert (part.status_code, part.content) == (206, bytes([0, 1, 2, 3]))
    assert (zipped.content, "content-encoding" in zipped.headers) == (b"hello", False)
    reused = [r.extensions["exchange"].reused for r in (whole, head, same, part, zipped)]
    assert reused == [False, True, True, True, True]


async def test_a_large_body_read_slowly_is_whole(web, wire):
    async with httpx.AsyncClient(transport=wire) as http, http.stream("GET", web.url + "/big") as response:
        size = 0
        async for piece in response.aiter_raw():
            size += len(piece)
            await asyncio.sleep(0)
    assert size == len(BIG)
