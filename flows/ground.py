"""What must be true before a measurement begins: allowed hosts, and targets that answer."""

import os
import re
from contextvars import ContextVar

import httpx

from config.plan import Plan
from config.settings import Settings
from config.target import Target
from flows.keys import fetch_key
from storage.errors import HostNotAllowed, TargetError, UsageError
from storage.records import Failure
from tasks.charts.words import plain
from tasks.load.dial import failure_of
from tasks.load.senders import httpx_transport

TOLD = ("server", "via", "x-litellm-version")  # of a target's headers, those that say what it is
NAME_OF_A_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
VALUE_OF_A_HEADER = re.compile(r"[\t -~]*")
MOST_TOLD = 200  # characters of each
Headers = dict[str, dict[str, str]]  # by the target's name: what it said of itself
# What the command line has found out before it started a Prefect server; None: nobody has asked the targets yet.
PROBED: ContextVar[Headers | None] = ContextVar("probed", default=None)


def check_hosts(plan: Plan, settings: Settings) -> None:
    """Raises HostNotAllowed for a target that nobody allowed on this machine."""
    hosts = [target.host for target in plan.targets]
    if plan.control.url:
        hosts.append(httpx.URL(plan.control.url).host)
    for host in hosts:
        if not settings.allows(host):
            raise HostNotAllowed(
                f"{host} is not this machine, and nobody allowed it: add it to GATEBENCH_ALLOWED_HOSTS, "
                f"or give --allow-host {host} on the command line"
            )


async def probe_all(plan: Plan) -> Headers:
    """One short request to each target. Raises TargetError."""
    return {target.name: await probe(target, plan.sweep.stream, patience_s(plan)) for target in plan.targets}


def patience_s(plan: Plan) -> float:
    """How long a question before the measurement may take: as long as a request, and never longer than the run."""
    wall_s = plan.budget.wall_s
    return plan.timeouts.first_byte_s if wall_s is None else min(plan.timeouts.first_byte_s, wall_s)


async def probe(target: Target, stream: bool, timeout_s: float) -> dict[str, str]:
    """One short request, so that a wrong URL or key is found before a thousand. The target's own headers.

    Raises TargetError. An overloaded target (429, 5xx) passes: that is for the measurement to show.
    """
    answer = await ask(target, "hello", timeout_s, stream=stream)
    if answer.status_code in (401, 403) and target.api_key is None and await fetch_key(target.api_key_env):
        answer = await ask(target, "hello", timeout_s, stream=stream)
    if answer.status_code in (401, 403):
        held = "was refused" if target.api_key is not None else "is not set"
        raise TargetError(f"{target.url} answers {answer.status_code}: the key in {target.api_key_env} {held}")
    if 400 <= answer.status_code < 500 and answer.status_code != 429:
        raise TargetError(
            f"{target.url} answers {answer.status_code} to a chat completion for model {target.model!r}; "
            "check the URL (it ends in /v1) and the model's name"
        )
    told = ((name, value) for name, value in answer.headers.items() if name in TOLD)
    return {name: plain(value)[:MOST_TOLD] for name, value in told}


async def ask(target: Target, content: str, timeout_s: float, *, stream: bool = False) -> httpx.Response:
    """One chat completion of one token. Raises TargetError where nothing answers, UsageError before a header that HTTP
    cannot carry."""
    body = {
        **target.extra_body,
        "model": target.model,
        "messages": [{"role": "user", "content": content}],
        target.token_param: 1,
        "stream": stream,
    }
    headers = dict(target.headers)
    if target.api_key is not None:
        headers["Authorization"] = f"Bearer {target.api_key.get_secret_value()}"
    _need_plain(headers, target)
    try:
        limits = httpx.Timeout(timeout_s, connect=10)
        way = httpx_transport(target.transport, target.url)
        async with httpx.AsyncClient(timeout=limits, trust_env=False, transport=way) as client:
            return await client.post(f"{target.url}/chat/completions", json=body, headers=headers, params=target.query)
    except httpx.HTTPError as error:
        if failure_of(error) is Failure.TLS:
            raise TargetError(
                f"{target.url} shows no certificate that can be trusted ({error}); "
                "name the authority that signed it in a PEM file by SSL_CERT_FILE, or mend its name or its date"
            ) from None
        raise TargetError(
            f"nothing answers at {target.url} ({type(error).__name__}: {str(error)[:120] or 'no reply'}); "
            "is the gateway up, and is the URL its base URL, ending in /v1?"
        ) from None


def _need_plain(headers: dict[str, str], target: Target) -> None:
    """Raises UsageError. What libraries say of such a header holds it whole, and would be logged with the key."""
    for name, value in headers.items():
        if not NAME_OF_A_HEADER.fullmatch(name) or not VALUE_OF_A_HEADER.fullmatch(value):
            what = f"the key in {target.api_key_env}" if name == "Authorization" else f"header {name} of {target.name}"
            raise UsageError(f"{what} has a character that HTTP cannot carry; write it in plain ASCII, on one line")


def alive(pid: int) -> bool:
    """Is there a process with this id?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
