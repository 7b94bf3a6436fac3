"""The same engine over any other httpx transport (`transport = "httpx"`): HTTP/2, proxies, odd servers.

Slower by an order of magnitude; its floor is calibrated like the wire's and printed, so that nobody is fooled.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns

import anyio
import httpx

from storage.records import Failure
from tasks.load.dial import failure_of
from tasks.load.exchange import Exchange, Limits, Origin


class HttpxSender:
    """Sends prepared bytes through `transport` and fills in an exchange as the wire transport would."""

    def __init__(self, transport: httpx.AsyncBaseTransport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}

    def start(self, origin: Origin, payload: bytes, *, on_end: Callable[[Exchange], None] | None = None) -> Exchange:
        exchange = Exchange(origin, payload, on_end)
        task = asyncio.get_running_loop().create_task(self._send(exchange))
        self._tasks[exchange] = task
        return exchange

    def settle(self, exchange: Exchange) -> None:
        task = self._tasks.pop(exchange, None)
        if task is not None and not task.done():
            task.cancel()

    async def aclose(self) -> None:
        for exchange in list(self._tasks):
            self.settle(exchange)
        await self._transport.aclose()

    async def _send(self, exchange: Exchange) -> None:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.total_ns / 1e9):
                await self._exchange(exchange)
        except TimeoutError:
            exchange.finish(perf_counter_ns(), Failure.TIMEOUT_TOTAL)
        except httpx.ConnectTimeout:
            exchange.finish(perf_counter_ns(), Failure.TIMEOUT_CONNECT)
        except httpx.TimeoutException:
            kind = Failure.TIMEOUT_IDLE if exchange.read_ns else Failure.TIMEOUT_FIRST_BYTE
            exchange.finish(perf_counter_ns(), kind)
        except httpx.ConnectError as error:
            exchange.finish(perf_counter_ns(), failure_of(error, shaking_hands=_broke_off(error)))
        except httpx.ProxyError:  # it let us go no further
            exchange.finish(perf_counter_ns(), Failure.CONNECT)
        except httpx.RemoteProtocolError as error:
            ended = any(word in str(error) for word in ("closed", "disconnected"))
            exchange.finish(perf_counter_ns(), Failure.CLOSED_EARLY if ended else Failure.PROTOCOL)
        except (httpx.TransportError, OSError):
            exchange.finish(perf_counter_ns(), Failure.RESET)
        except Exception:  # whatever an odd transport raises: every attempt ends in a row
            exchange.finish(perf_counter_ns(), Failure.PROTOCOL)
            raise

    async def _exchange(self, exchange: Exchange) -> None:
        request = self._request(exchange)
        exchange.sent_ns = perf_counter_ns()
        response = await self._transport.handle_async_request(request)
        try:
            exchange.read_ns = exchange.headers_ns = perf_counter_ns()
            request.extensions["timeout"]["read"] = self._limits.idle_ns / 1e9  # of every read from here on
            exchange.status = response.status_code
            exchange.headers = response.headers.raw
            if exchange.on_headers is not None:
                exchange.on_headers(exchange)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                exchange.read_ns = perf_counter_ns()
                exchange.response_bytes += len(chunk)
                if exchange.on_body is not None:
                    exchange.on_body(chunk, exchange.read_ns)
                else:
                    exchange.body.append(chunk)
        finally:
            await response.aclose()  # the connection is free again before the next request asks for one
        exchange.finish(exchange.read_ns)

    def _request(self, exchange: Exchange) -> httpx.Request:
        head, _, body = exchange.payload.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, path, _ = first.split(b" ")
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        origin = exchange.origin
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        url = httpx.URL(f"{origin.scheme}://{host}:{origin.port}").copy_with(raw_path=path)
        limits = self._limits
        timeout = {
            "connect": limits.connect_ns / 1e9,
            "read": limits.first_byte_ns / 1e9,
            "write": limits.first_byte_ns / 1e9,
            "pool": None,
        }
        return httpx.Request(method.decode(), url, headers=headers, content=body, extensions={"timeout": timeout})


def _broke_off(error: BaseException) -> bool:
    """A connection that stood and broke before the request: it was shaking hands."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, anyio.BrokenResourceError | anyio.EndOfStream):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
