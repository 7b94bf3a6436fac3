"""What sends a leg's requests, as its target asks for it: the wire, or httpx's own transport."""

import ssl
from urllib.request import getproxies, proxy_bypass

import httpx

from storage.errors import UsageError
from tasks.load.dial import authorities
from tasks.load.exchange import Limits
from tasks.load.other import HttpxSender
from tasks.load.wire import WireTransport

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def make_sender(transport: str, url: str, limits: Limits) -> WireTransport | HttpxSender:
    """`transport`: "wire" or "httpx". Both trust the system's authorities or those of SSL_CERT_FILE.

    Through "httpx" a server that offers HTTP/2 is spoken to in it, and a proxy that HTTP_PROXY, HTTPS_PROXY or
    ALL_PROXY names is used, except for loopback and the hosts of NO_PROXY. The wire speaks HTTP/1.1, to the server
    itself.
    """
    if transport == "wire":
        return WireTransport(limits, tls=authorities() if httpx.URL(url).scheme == "https" else None)
    return HttpxSender(httpx_transport(transport, url), limits)


def httpx_transport(transport: str, url: str) -> httpx.AsyncHTTPTransport:
    """httpx's own transport, which goes the way that this target's requests go. Raises UsageError."""
    if transport == "wire":
        return httpx.AsyncHTTPTransport(verify=_trusted(url))
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    proxy = _proxy(httpx.URL(url))
    try:
        return httpx.AsyncHTTPTransport(verify=_trusted(url), http2=True, limits=unlimited, proxy=proxy)
    except ImportError as error:
        raise UsageError(f"the proxy of the environment cannot be used: {error}") from None
    except (ValueError, httpx.InvalidURL):  # its address may hold a password, and so may what is said of it
        raise UsageError("the proxy of the environment is no address like http://host:3128; see HTTPS_PROXY") from None


def _trusted(url: str) -> ssl.SSLContext:
    """Where nothing is encrypted no authority is read, and none trusted."""
    return authorities() if httpx.URL(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy(url: httpx.URL) -> str | None:
    """The environment's proxy for this url."""
    host = url.host
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    named = getproxies()
    return named.get(url.scheme, named.get("all"))
