"""From an origin to a socket that speaks: names, addresses in turn, TLS, and what to call all that goes wrong there."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol

import certifi

from storage.errors import UsageError
from storage.records import Failure

OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}  # not the target's doing
_HOPELESS = OURS - {errno.EADDRNOTAVAIL}  # that one may only mean: no IPv6 here
KEPT_BACK = 16  # descriptors that no connection may have
_CA_FILE = "SSL_CERT_FILE"

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Caller(Protocol):
    """What of an exchange is known, and is to be stamped, while its connection is made."""

    dns_ns: int | None
    connected_ns: int | None
    tls_ns: int | None


async def look_up(host: str, port: int) -> list[str]:
    """Addresses of the host, in the resolver's order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def authorities() -> ssl.SSLContext:
    """Who is trusted: the system's authorities (where it has none, certifi's); a PEM file that SSL_CERT_FILE names
    takes the place of the system's file.

    Reading them takes 20 ms, in which an event loop stands still. UsageError: there is no such file, or no PEM in it.
    """
    context = ssl.create_default_context()
    named = os.environ.get(_CA_FILE)
    try:
        if named:
            context.load_verify_locations(cafile=named)
        elif not context.cert_store_stats()["x509_ca"] and not _has_files(ssl.get_default_verify_paths().capath):
            context.load_verify_locations(cafile=certifi.where())
    except OSError as error:  # an SSLError too, when it is no PEM
        reason = error.strerror or error
        raise UsageError(f"{_CA_FILE} names {named}, which holds no certificates ({reason}); name a PEM file") from None
    return context


def _has_files(folder: str | None) -> bool:
    return folder is not None and any(Path(folder).iterdir())


class Dialer:
    """Opens connections. `resolve` gives a host's addresses; without `tls` the system's authorities are trusted."""

    def __init__(self, resolve: Resolve = look_up, tls: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve
        self._tls = tls

    async def open(
        self, caller: Caller, protocol: asyncio.Protocol, origin: tuple[str, str, int], limit_ns: int
    ) -> asyncio.Transport:
        """Connect `protocol` to (scheme, host, port) within the limit, and stamp what took place.

        Raises what `failure_of` has names for; then nothing is left open.
        """
        scheme, host, port = origin
        async with asyncio.timeout(limit_ns / 1e9):
            addresses = await self._addresses(caller, host, port)
            transport = await _connect(protocol, addresses, port, limit_ns / 1e9)
            caller.connected_ns = perf_counter_ns()
            if scheme == "https":
                transport = await self._secure(transport, protocol, host)
                caller.tls_ns = perf_counter_ns()
        return transport

    async def _addresses(self, caller: Caller, host: str, port: int) -> list[str]:
        """A literal address costs no look-up."""
        try:
            return [str(ip_address(host))]
        except ValueError:
            found = await self._resolve(host, port)
        caller.dns_ns = perf_counter_ns()
        return found

    async def _secure(self, plain: asyncio.Transport, protocol: asyncio.Protocol, host: str) -> asyncio.Transport:
        if self._tls is None:
            self._tls = authorities()
        if plain.is_closing():  # it spoke, or left, before there was a handshake
            raise ssl.SSLError("the server does not begin with a TLS handshake")
        try:
            loop = asyncio.get_running_loop()
            secured = await loop.start_tls(plain, protocol, self._tls, server_hostname=host.removesuffix("."))
        except BaseException:
            plain.abort()
            raise
        if secured is None:
            raise ssl.SSLError("the connection was closed during the TLS handshake")
        return secured


async def _connect(
    protocol: asyncio.Protocol, addresses: Sequence[str], port: int, limit_s: float
) -> asyncio.Transport:
    """To the first address that takes us in. Each is given its share of the time that is left, so that one which
    answers nothing does not use up all of it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    refusals: list[OSError] = []
    for tried, address in enumerate(addresses):
        try:
            async with asyncio.timeout((until - loop.time()) / (len(addresses) - tried)):
                transport, _ = await loop.create_connection(lambda: protocol, address, port)
                _spare(transport)
                return transport
        except OSError as error:
            refusals.append(error)
            if error.errno in _HOPELESS:
                break
    if not refusals:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    ours = [e for address, e in zip(addresses, refusals, strict=False) if e.errno in OURS and ":" not in address]
    raise ours[0] if ours else refusals[-1]


def _spare(transport: asyncio.Transport) -> None:
    """The last descriptors are for the rows: the sample log must be written whatever the target does to us."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and transport.get_extra_info("socket").fileno() >= limit - KEPT_BACK:
        transport.abort()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def failure_of(error: BaseException, *, shaking_hands: bool = False) -> Failure:
    """The name of what went wrong before a request could be sent. `shaking_hands`: the connection stood, TLS did not.

    An error may be wrapped in others, as httpx does: the first in the chain of causes that says something counts.
    """
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return Failure.LOCAL if _out_of_descriptors() else Failure.DNS
        if isinstance(cause, ssl.SSLError):
            return Failure.TLS
        if isinstance(cause, TimeoutError):
            return Failure.TIMEOUT_CONNECT
        if isinstance(cause, ValueError | OverflowError):  # no name of a host at all, no port
            return Failure.DNS
        if isinstance(cause, OSError) and cause.errno in OURS:
            return Failure.LOCAL
    return Failure.TLS if shaking_hands else Failure.CONNECT


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _causes(one)
        error = error.__cause__ or error.__context__


def _out_of_descriptors() -> bool:
    """A resolver that cannot open its files says that there is no such name."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False
