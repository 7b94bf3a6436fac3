"""The wire against uvicorn, with either of its HTTP parsers."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from storage.records import Failure
from tasks.load.client import watch
from tasks.load.exchange import Exchange, Limits, Origin
from tasks.load.wire import WireTransport

uvicorn = pytest.importorskip("uvicorn")

BIG = bytes(range(256)) * 4096 * 50  # 50 MB
EVENT = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"\xc3\xa9"},"finish_reason":null}]}\r\n\r\n'


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """/echo, /drip (40 events in as many chunks), /length/N, /none, /broken (half of what it promised)."""
    if scope["type"] != "http":
        return
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    _, path, *rest = scope["path"].split("/")

    async def start(status: int, *headers: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def more(data: bytes, going_on: bool = False) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": going_on})

    if path == "drip":
        await start(200, (b"content-type", b"text/event-stream"))
        for _ in range(40):
            await more(EVENT, True)
            await asyncio.sleep(0)
        await more(b"data: [DONE]\r\n\r\n")
    elif path == "length":
        await start(200, (b"content-length", rest[0].encode()))
        await more(BIG[: int(rest[0])])
    elif path == "none":
        await start(204)
        await more(b"")
    elif path == "broken":
        await start(200, (b"content-length", b"100"))
        await more(b"x" * 50)
    else:
        await start(200, (b"x-method", scope["method"].encode()))
        await more(body)


@pytest.fixture(scope="module", params=["h11", "httptools"])
def served_by(request: pytest.FixtureRequest) -> Iterator[Origin]:
    with socket.create_server(("127.0.0.1", 0)) as line:
        config = uvicorn.Config(app, http=request.param, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [line]})
        thread.start()
        yield Origin("http", "127.0.0.1", line.getsockname()[1])
        server.should_exit = True
        thread.join(10)


@pytest.fixture
async def wire() -> AsyncIterator[WireTransport]:
    made = WireTransport(Limits.seconds(10, 10, 10, 60))
    yield made
    await made.aclose()


async def ask(wire: WireTransport, origin: Origin, path: str, body: bytes = b"", method: str = "POST") -> Exchange:
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    exchange = wire.start(origin, head + body)
    await asyncio.wait_for(exchange.done, 60)
    wire.settle(exchange)
    return exchange


async def test_bodies_of_any_kind_on_one_connection(wire, served_by):
    seen = [
        await ask(wire, served_by, path, body)
        for path, body in [("/echo", b"hi"), ("/none", b""), ("/length/7", b""), ("/echo", BIG), ("/echo", b"again")]
    ]
    assert [(e.status, e.failure) for e in seen] == [(200, None), (204, None), (200, None), (200, None), (200, None)]
    assert [b"".join(e.body) for e in seen] == [b"hi", b"", BIG[:7], BIG, b"again"]
    assert [e.reused for e in seen] == [False, True, True, True, True]


async def test_fifty_megabytes_down(wire, served_by):
    exchange = await ask(wire, served_by, f"/length/{len(BIG)}")
    assert (exchange.failure, b"".join(exchange.body) == BIG) == (None, True)


async def test_a_stream_in_chunks_has_its_tokens(wire, served_by):
    exchange = wire.start(served_by, b"POST /drip HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    found: list[Any] = []
    exchange.on_headers = lambda one: found.append(watch(one, True))
    await asyncio.wait_for(exchange.done, 60)
    tokens = found[0]
    assert (exchange.failure, tokens.tokens, tokens.done, len(tokens.gaps_us)) == (None, 40, True, 39)
    assert exchange.headers_ns <= tokens.first_token_ns <= tokens.last_token_ns <= exchange.end_ns


async def test_a_promise_that_is_not_kept_is_closed_early(wire, served_by):
    exchange = await ask(wire, served_by, "/broken")
    assert (exchange.status, exchange.failure) == (200, Failure.CLOSED_EARLY)


async def test_many_at_once_each_get_their_own(wire, served_by):
    async def user(number: int) -> list[bytes]:
        return [b"".join((await ask(wire, served_by, "/echo", b"%d/%d" % (number, k))).body) for k in range(10)]

    seen = await asyncio.gather(*(user(number) for number in range(30)))
    assert seen == [[b"%d/%d" % (number, k) for k in range(10)] for number in range(30)]


async def test_through_httpx(wire, served_by):
    base = f"http://127.0.0.1:{served_by.port}"
    async with httpx.AsyncClient(transport=wire, base_url=base) as http:
        head = await http.head("/length/9")
        put = await http.put("/echo", content=b"put")
        with contextlib.suppress(httpx.ReadError):
            await http.get("/broken")
        after = await http.post("/echo", json={"a": 1})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "9", b"")
    assert (put.content, put.headers["x-method"], after.json()) == (b"put", "PUT", {"a": 1})


async def test_what_uvicorn_does_not_take_for_http_is_refused_and_the_connection_given_up(wire, served_by):
    exchange = wire.start(served_by, b"NO SUCH THING\r\n\r\n")
    await asyncio.wait_for(exchange.done, 60)
    assert (exchange.status, exchange.failure) == (400, None)
    assert (await ask(wire, served_by, "/echo", b"x")).reused is False
