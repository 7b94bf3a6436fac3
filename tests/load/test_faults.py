"""Everything a target can do wrong, each through a whole leg: the right name, a row for every attempt, and an end."""

import asyncio
import gzip
import json
import pickle
import resource
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from storage.records import Leg
from tasks.load.leg import run
from tasks.load.spec import LegSpec
from tests.fakes.certificates import certificate, shows
from tests.fakes.servers import Behaviour, Talk, answer, served

REQUESTS = 6
LIMIT_S = 0.4  # connect, first byte, idle
TOTAL_S = 0.8
HANGS_S = 20.0  # what takes this long was not cut at its limit

SSE = b"content-type: text/event-stream\r\n"
ROLE = b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
TOKEN = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
STOP = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"the upstream broke off","code":500}}\n\n'
GOOD = json.dumps(
    {"model": "m", "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
).encode()
HEAD = b"HTTP/1.1 200 OK\r\n" + SSE + b"transfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(*events: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)


def says(*pieces: bytes) -> Behaviour:
    """Answers every request with the same bytes and keeps the connection."""

    async def behave(talk: Talk) -> None:
        while await talk.hear():
            for piece in pieces:
                await talk.say(piece)

    return behave


def says_and(then: Callable[[Talk], object], *pieces: bytes) -> Behaviour:
    """Says its pieces to the first request of a connection, and then does something else."""

    async def behave(talk: Talk) -> None:
        await talk.hear()
        for piece in pieces:
            await talk.say(piece)
        await asyncio.sleep(0.02)  # a reset overtakes what was not yet read
        done = then(talk)
        if done is not None:
            await done  # type: ignore[misc]

    return behave


def closes(*pieces: bytes) -> Behaviour:
    return says_and(lambda talk: None, *pieces)


def resets(*pieces: bytes) -> Behaviour:
    return says_and(Talk.reset, *pieces)


def hangs(*pieces: bytes) -> Behaviour:
    return says_and(Talk.silence, *pieces)


async def spells_its_headers(talk: Talk) -> None:
    await talk.hear()
    for byte in answer(GOOD):
        await talk.say(bytes([byte]))
        await asyncio.sleep(0.05)


async def never_ends_its_headers(talk: Talk) -> None:
    await talk.hear()
    await talk.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await talk.say(b"x-more: 0123456789\r\n" * 500)
        await asyncio.sleep(0.001)


async def never_stops_talking(talk: Talk) -> None:
    await talk.hear()
    await talk.say(HEAD)
    while True:
        await talk.say(chunk(TOKEN))
        await asyncio.sleep(0.05)


def status(line: bytes, *, extra: bytes = b"", body: bytes = b'{"error":{"message":"no"}}') -> bytes:
    return answer(body, status=line, extra=b"content-type: application/json\r\n" + extra)


HALF = b"content-type: application/json\r\ncontent-length: 999\r\n\r\n" + b'{"error":'
ZIPPED = gzip.compress(GOOD)
ZIPPED_STREAM = gzip.compress(ROLE + TOKEN + STOP + DONE)

# name: (what the server does, how the requests that met it are called)
STREAMS = {
    "well": (says(HEAD + chunk(ROLE, TOKEN, STOP, DONE) + END), None),
    "accepted and silent": (hangs(), "timeout_first_byte"),
    "closed unanswered": (closes(), "closed_early"),
    "reset unanswered": (resets(), "reset"),
    "closed in the headers": (closes(HEAD[:20]), "closed_early"),
    "reset in the headers": (resets(HEAD[:20]), "reset"),
    "closed after the headers": (closes(HEAD), "closed_early"),
    "reset after the headers": (resets(HEAD), "reset"),
    "reset in the stream": (resets(HEAD + chunk(ROLE, TOKEN)), "reset"),
    "broken off in a chunk": (closes(HEAD + chunk(ROLE, TOKEN)[:-9]), "closed_early"),
    "stalled before its first token": (hangs(HEAD), "timeout_idle"),
    "stalled in the stream": (hangs(HEAD + chunk(ROLE, TOKEN)), "timeout_idle"),
    "done, and never ended": (hangs(HEAD + chunk(ROLE, TOKEN, STOP, DONE)), "timeout_idle"),
    "no length, and never closed": (hangs(b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + TOKEN), "timeout_idle"),
    "headers byte by byte": (spells_its_headers, "timeout_total"),
    "a stream without an end": (never_stops_talking, "timeout_total"),
    "truncated in silence": (says(HEAD + chunk(ROLE, TOKEN) + END), "truncated"),
    "truncated with its connection": (closes(b"HTTP/1.1 200 OK\r\n" + SSE + b"\r\n" + ROLE + TOKEN), "truncated"),
    "not a token": (says(HEAD + chunk(ROLE, STOP, DONE) + END), "empty"),
    "done at once": (says(HEAD + chunk(DONE) + END), "empty"),
    "not an event": (says(HEAD + END), "empty"),
    "junk for an event": (says(HEAD + chunk(ROLE, b"data: {oops\n\n", DONE) + END), "bad_json"),
    "an error frame": (says(HEAD + chunk(ROLE, TOKEN, ERROR) + END), "stream_error"),
    "an error frame, and broken off": (closes(HEAD + chunk(ROLE, TOKEN, ERROR)), "stream_error"),
    "rate limited": (says(status(b"429 Too Many", extra=b"retry-after: 7\r\n")), "rate_limited"),
    "rate limited, and broken off": (closes(b"HTTP/1.1 429 Too Many\r\n" + HALF), "rate_limited"),
    "rate limited, and reset": (resets(b"HTTP/1.1 429 Too Many\r\n" + HALF), "rate_limited"),
    "failed, and stalled": (hangs(b"HTTP/1.1 503 Unavailable\r\n" + HALF), "http_5xx"),
    "compressed unasked": (says(answer(ZIPPED_STREAM, extra=SSE + b"content-encoding: gzip\r\n")), "protocol"),
}
PLAIN = {
    "well": (says(answer(GOOD)), None),
    "half a body": (closes(b"HTTP/1.1 200 OK\r\n" + HALF), "closed_early"),
    "half a body, and stalled": (hangs(b"HTTP/1.1 200 OK\r\n" + HALF), "timeout_idle"),
    "bad JSON": (says(answer(GOOD[:-3])), "bad_json"),
    "an empty body": (says(answer(b"")), "empty"),
    "no content": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "empty"),
    "an empty completion": (says(answer(GOOD.replace(b'"x"', b'""'))), "empty"),
    "an error with status 200": (says(answer(b'{"error":{"message":"no"}}')), "stream_error"),
    "a page": (says(answer(b"<html>502</html>")), "bad_json"),
    "compressed unasked": (says(answer(ZIPPED, extra=b"content-encoding: gzip\r\n")), "protocol"),
    "moved": (says(status(b"302 Found", extra=b"location: /elsewhere\r\n")), "http_3xx"),
    "not modified": (says(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"), "http_3xx"),
    "wrong key": (says(status(b"401 Unauthorized")), "http_4xx"),
    "too large": (says(status(b"413 Too Large", extra=b"connection: close\r\n")), "http_4xx"),
    "failed": (says(status(b"500 Oops")), "http_5xx"),
    "no upstream": (says(status(b"504 Timeout", body=b"<html>")), "http_5xx"),
    "a status of its own": (says(status(b"999 Odd")), "http_5xx"),
    "another protocol": (closes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol"),
    "huge headers": (says(answer(GOOD, extra=b"x: " + b"y" * 300_000 + b"\r\n")), "protocol"),
    "headers without end": (never_ends_its_headers, "protocol"),
    "two lengths": (says(answer(GOOD, extra=b"content-length: 5\r\n")), "protocol"),
    "a bad chunk": (closes(HEAD.replace(SSE, b"") + b"zz\r\nxx\r\n"), "protocol"),
    "another protocol after 101": (closes(b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "protocol"),
}
TABLE = [
    pytest.param(behave, kind, stream, id=f"{name} ({'stream' if stream else 'plain'})")
    for table, stream in ((STREAMS, True), (PLAIN, False))
    for name, (behave, kind) in table.items()
]
both = pytest.mark.parametrize("transport", ["wire", "httpx"])


@pytest.fixture
def leg(leg_spec, rows_of) -> Callable[..., tuple[Leg, pl.DataFrame]]:
    """A leg of six requests of two users, and its rows; whatever happened, its books are right and nothing hung."""

    def make(url: str | None = None, **changes: object) -> tuple[Leg, pl.DataFrame]:
        limits = (LIMIT_S, LIMIT_S, LIMIT_S, TOTAL_S)
        spec: LegSpec = leg_spec(url, **{"level": 2, "requests": REQUESTS, "timeouts_s": limits, **changes})
        found = run(spec)
        rows = rows_of(spec)
        measured = rows.filter(pl.col("phase") == "measured")
        assert found.rows == rows.height == rows["seq"].n_unique()
        assert found.measured == measured.height == found.ok + sum(found.failed.values())
        assert dict(measured.drop_nulls("failure").group_by("failure").len().rows()) == found.failed
        assert ((rows["end_ns"] - rows["sent_ns"]) / 1e9).max() < HANGS_S
        return found, rows

    return make


@both
@pytest.mark.parametrize(("behave", "kind", "stream"), TABLE)
def test_what_a_target_does_has_its_name(leg, behave, kind, stream, transport):
    with served(behave) as server:
        found, rows = leg(server.url + "/v1", stream=stream, transport=transport)
    assert (found.ok, found.failed) == ((REQUESTS, {}) if kind is None else (0, {kind: REQUESTS}))
    assert rows["failure"].unique().to_list() == [kind]


@both
def test_nobody_there(leg, transport):
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{line.getsockname()[1]}/v1"
        assert leg(url, transport=transport)[0].failed == {"connect": REQUESTS}


@both
def test_a_name_that_nobody_has(leg, transport):
    assert leg("http://nonexistent.invalid/v1", transport=transport)[0].failed == {"dns": REQUESTS}


@both
def test_a_storm_of_429_is_kept_with_the_time_it_asks_for(leg, transport):
    with served(says(status(b"429 Too Many", extra=b"retry-after: 7\r\n"))) as server:
        found, rows = leg(server.url + "/v1", transport=transport, requests=60)
    assert (found.failed, rows["retry_after_s"].unique().to_list()) == ({"rate_limited": 60}, [7.0])
    assert found.validity == "valid"


@both
def test_what_came_before_the_stall_is_kept(leg, transport):
    with served(hangs(HEAD + chunk(ROLE, TOKEN))) as server:
        _, rows = leg(server.url + "/v1", transport=transport)
    assert rows["first_token_ns"].null_count() == 0
    assert rows["status"].unique().to_list() == [200]


# --- TLS


def shown(tmp_path: Path, *names: str, days: int = 1) -> tuple[Path, ssl.SSLContext]:
    path = certificate(tmp_path / "server.pem", *names, days=days)
    return path, shows(path)


@both
def test_an_authority_of_one_s_own_is_trusted_where_it_is_named(leg, tmp_path, environment, transport):
    path, tls = shown(tmp_path, "127.0.0.1")
    environment("SSL_CERT_FILE", str(path))
    with served(says(answer(GOOD)), tls=tls) as server:
        assert leg(server.url + "/v1", stream=False, transport=transport)[0].ok == REQUESTS


@both
@pytest.mark.parametrize(
    ("names", "days", "trusted"),
    [(("localhost",), 1, True), (("127.0.0.1",), -1, True), (("127.0.0.1",), 1, False)],
    ids=["another name", "expired", "signed by itself"],
)
def test_a_certificate_that_does_not_hold(leg, tmp_path, environment, names, days, trusted, transport):
    path, tls = shown(tmp_path, *names, days=days)
    if trusted:
        environment("SSL_CERT_FILE", str(path))
    with served(says(answer(GOOD)), tls=tls) as server:
        assert leg(server.url + "/v1", transport=transport)[0].failed == {"tls": REQUESTS}
    assert server.requests == []


@both
def test_a_server_that_speaks_no_tls(leg, transport):
    async def greets(talk: Talk) -> None:
        await talk.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        await talk.silence()

    with served(greets) as server:
        url = server.url.replace("http:", "https:") + "/v1"
        assert leg(url, transport=transport)[0].failed == {"tls": REQUESTS}


# --- ours, not the target's


@contextmanager
def descriptors(more: int) -> Iterator[None]:
    """Only so many more than are open now."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null", "rb") as probe:  # noqa: PTH123 - the lowest free one
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_out_of_descriptors_is_ours_and_the_rows_are_written_all_the_same(leg, sim):
    with descriptors(60):
        found, _ = leg(sim.url, level=80, requests=200)
    assert found.failed["local"] == sum(found.failed.values())
    assert found.validity == "invalid"
    assert "descriptors" in found.reasons[0]


PORTS = """
import fcntl, pickle, socket, struct, sys
from dataclasses import replace
from pathlib import Path
from tasks.load.leg import run
from tests.fakes.servers import served, answer, always

with socket.socket() as line:  # the loopback of this network, which is nobody else's
    fcntl.ioctl(line, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50004")
spec = pickle.loads(Path(sys.argv[1]).read_bytes())
with served(always(answer(b'{"choices":[{"message":{"content":"x"}}]}'))) as server:
    leg = run(replace(spec, target=replace(spec.target, url=server.url + "/v1")))
print(*leg.failed, leg.validity)
"""


def test_out_of_ports_is_ours(leg_spec, tmp_path):
    """In a network of its own, with five ports."""
    spec = leg_spec(level=12, requests=60, stream=False)
    (tmp_path / "spec.pickle").write_bytes(pickle.dumps(spec))
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network of its own")
    command = [unshare, "-n", sys.executable, "-c", PORTS, str(tmp_path / "spec.pickle")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("local invalid\n", "")
