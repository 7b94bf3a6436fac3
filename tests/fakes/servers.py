"""A server on loopback that says exactly the bytes a test tells it to, and remembers what it heard."""

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


class Talk:
    """One connection, seen from the server; `number` counts from 1."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.number = server.connections

    async def hear(self) -> bytes:
        """The next request, whole; b"" when the client is gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def spell(self, data: bytes) -> None:
        """Byte by byte, each a segment of its own."""
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            await self.say(bytes([byte]))
            await asyncio.sleep(0)

    async def silence(self) -> None:
        await asyncio.Event().wait()

    def reset(self) -> None:
        """The connection ends with RST, not FIN."""
        line = self.writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Talk], Awaitable[None]]


class Server:
    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.scheme, self.host, self.port = scheme, host, port
        self.connections = 0
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@contextlib.asynccontextmanager
async def serving(
    behave: Behaviour, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """`behave` runs once a connection, which is closed when it returns."""
    heard = Server("http" if tls is None else "https", host, 0)
    talks: set[asyncio.Task[None]] = set()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        heard.connections += 1
        try:
            await behave(Talk(heard, reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_server(welcome, host, 0, ssl=tls)
    heard.port = server.sockets[0].getsockname()[1]
    try:
        yield heard
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@contextlib.contextmanager
def served(behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """The same from a thread of its own, for a client that has the loop of this one."""
    begun: concurrent.futures.Future[Server] = concurrent.futures.Future()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with serving(behave, tls=tls) as server:
            begun.set_result(server)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield begun.result(10)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def answer(body: bytes = b"{}", *, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    """A whole response with its content-length."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, extra, len(body), body)


def chunked(*parts: bytes) -> bytes:
    """A whole response in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def always(*responses: bytes) -> Behaviour:
    """Answers every request on every connection with the same bytes, for as long as the client asks."""

    async def behave(talk: Talk) -> None:
        while await talk.hear():
            for response in responses:
                await talk.say(response)

    return behave


def says(*pieces: bytes) -> Behaviour:
    """Hears one request, says the pieces, closes."""

    async def behave(talk: Talk) -> None:
        await talk.hear()
        for piece in pieces:
            await talk.say(piece)

    return behave


def then_silent(*pieces: bytes) -> Behaviour:
    """Hears one request, says the pieces, and then nothing more."""

    async def behave(talk: Talk) -> None:
        await says(*pieces)(talk)
        await talk.silence()

    return behave
