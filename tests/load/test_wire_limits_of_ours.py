"""Running out of descriptors is ours, never the target's."""

import asyncio
import resource

import httpx

from storage.records import Failure
from tasks.load.wire import Origin, WireTransport

PAYLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def test_out_of_descriptors(sim):
    origin = Origin.of(httpx.URL(sim.url))
    wire = WireTransport()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null", "rb") as probe:  # noqa: PTH123, ASYNC230 - the lowest free descriptor
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        exchange = wire.start(origin, PAYLOAD)
        await asyncio.wait_for(exchange.done, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    after = wire.start(origin, PAYLOAD)
    await asyncio.wait_for(after.done, 10)
    await wire.aclose()
    assert exchange.failure == Failure.LOCAL
    assert after.status == 404
