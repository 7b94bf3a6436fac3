"""The Prefect server of PREFECT_API_URL: does it answer, is it the version that was tried, and what of Prefect's open
defaults has been left as it was. Pure: it was asked before."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from tasks.doctor.finding import Finding, Grade, graded, ok

ENV_FILE = "deployments/prefect.env"


@dataclass(frozen=True, slots=True)
class Server:
    """What the server said. None: it did not say."""

    url: str
    error: str | None = None  # why it could not be asked
    version: str | None = None
    answers_anybody: bool | None = None  # without credentials
    answers_any_page: bool | None = None  # another origin's page in a browser
    forgery_checked: bool | None = None  # CSRF protection
    analytics: bool | None = None
    second_ui: bool | None = None


def server(seen: Server | None, own_version: str | None, loopback: bool) -> list[Finding]:
    """`seen` None: PREFECT_API_URL is not set. `loopback`: only this machine can reach it."""
    if seen is None:
        return [ok("Prefect server", "PREFECT_API_URL is not set: each run starts a closed one of its own (6 s)")]
    if seen.error is not None:
        mend = "start it, or unset PREFECT_API_URL to do without; `gatebench up` is a server with all settings made"
        said = Finding("Prefect server", Grade.BAD, f"{_bare(seen.url)}: {seen.error}", mend)
        return [finding for finding in (_address(seen.url), said) if finding is not None]
    found = [_address(seen.url), _version(seen, own_version)]
    found += [_login(seen, loopback), _origins(seen), _forgery(seen), _analytics(seen), _second_ui(seen)]
    return [finding for finding in found if finding is not None]


def _address(url: str) -> Finding | None:
    parts = urlsplit(url)
    if not parts.path.rstrip("/").endswith("/api"):
        return Finding(
            "PREFECT_API_URL",
            Grade.BAD,
            f"{_bare(url)} does not end in /api",
            f"export PREFECT_API_URL={_bare(url).rstrip('/')}/api",
        )
    if parts.username or parts.password:
        found = "it holds a user or a password, which Prefect writes into its logs"
        return Finding("PREFECT_API_URL", Grade.WARN, found, "use PREFECT_API_AUTH_STRING=user:password for it")
    return None


def _bare(url: str) -> str:
    """Without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _version(seen: Server, own: str | None) -> Finding:
    where = _bare(seen.url)
    if seen.version is None or own is None or seen.version == own:
        return ok("Prefect server", f"{seen.version or 'a server'} answers at {where}")
    found = f"{where} runs Prefect {seen.version}, here is {own}"
    return Finding("Prefect server", Grade.WARN, found, f'there: pip install "prefect=={own}"')


def _login(seen: Server, loopback: bool) -> Finding | None:
    if seen.answers_anybody is None:
        return None
    reach = "of this machine" if loopback else "who can reach it"
    return graded(
        "Prefect login",
        seen.answers_anybody and not loopback,
        seen.answers_anybody,
        f"anybody {reach} may start runs and read Secret blocks" if seen.answers_anybody else "asks for a password",
        "PREFECT_SERVER_API_AUTH_STRING=user:password for the server, PREFECT_API_AUTH_STRING for its clients",
    )


def _origins(seen: Server) -> Finding | None:
    if seen.answers_any_page is None:
        return None
    return graded(
        "Prefect CORS",
        seen.answers_any_page and bool(seen.answers_anybody),
        seen.answers_any_page,
        "any page open in an operator's browser may call it" if seen.answers_any_page else "only its own pages call it",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS=http://127.0.0.1:4200 (its own address) for the server",
    )


def _forgery(seen: Server) -> Finding | None:
    if seen.forgery_checked is None:
        return None
    return graded(
        "Prefect CSRF",
        False,
        not seen.forgery_checked,
        "requests must carry a token of its own" if seen.forgery_checked else "requests need no token of its own",
        f"PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED=true for the server ({ENV_FILE})",
    )


def _analytics(seen: Server) -> Finding | None:
    if seen.analytics is None:
        return None
    return graded(
        "Prefect analytics",
        False,
        seen.analytics,
        "the server tells its makers of itself" if seen.analytics else "off",
        f"PREFECT_SERVER_ANALYTICS_ENABLED=false and DO_NOT_TRACK=1 for the server ({ENV_FILE})",
    )


def _second_ui(seen: Server) -> Finding | None:
    if seen.second_ui is None:
        return None
    return graded(
        "Prefect UI V2",
        False,
        seen.second_ui,
        "its pages ask a third party from the browser" if seen.second_ui else "off",
        f"PREFECT_SERVER_UI_V2_ENABLED=false for the server ({ENV_FILE})",
    )
