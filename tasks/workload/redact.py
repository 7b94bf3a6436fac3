"""What of a log may be kept: an allow-list per privacy level, and a scan for secrets that fails closed."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Literal, get_args

import orjson

from storage.errors import UsageError
from tasks.workload.formats.adapter import Row

Privacy = Literal["counts", "structure", "text"]
LEVELS: tuple[str, ...] = get_args(Privacy)
LEAST_SALT = 16

COUNTS = frozenset(
    {
        "line",
        "call_id",  # only to recognise duplicates; never written
        "start_ns",
        "end_ns",
        "first_token_ns",
        "model",
        "input_tokens",
        "output_tokens",
        "max_output_tokens",
        "stream",
        "failure",
        "cache_hit",
        "approximate",
        "prefix_blocks",  # numbers by which a published trace says which prompts begin alike, and nothing of their text
    }
)
KEPT: dict[str, frozenset[str]] = {
    "counts": COUNTS,
    "structure": COUNTS | {"session", "user"},
    "text": COUNTS | {"session", "user", "messages"},
}

# A border before `sk-`, so that `risk-model` is a model and not a key.
SECRETS: dict[str, re.Pattern[str]] = {
    "an API key (sk-…)": re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}"),
    "a bearer token": re.compile(r"(?<![A-Za-z])[Bb]earer\s+[A-Za-z0-9._~+/=-]{8,}"),
    "an AWS access key": re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{12,}"),
    "a JSON web token": re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "a Google API key": re.compile(r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{30,}"),
    "a GitHub token": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}"),
    "a token (hf_, gsk_, xox…)": re.compile(r"(?<![A-Za-z0-9])(?:hf_|gsk_|xox[abeprs]-)[A-Za-z0-9-]{16,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "an e-mail address": re.compile(
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,}"
    ),
}


def check_level(privacy: str, salt: bytes | None) -> None:
    """Raises UsageError for an unknown level, or one that needs a salt and has none worth the name."""
    if privacy not in LEVELS:
        raise UsageError(f"unknown privacy level {privacy!r}; choose from {', '.join(LEVELS)}")
    if privacy != "counts" and (salt is None or len(salt) < LEAST_SALT):
        raise UsageError(
            f"privacy {privacy!r} hides users and sessions behind a salt of at least {LEAST_SALT} bytes; "
            "set GATEBENCH_SALT, and keep it apart from the workload"
        )


def redact(row: Row, privacy: str, salt: bytes | None) -> Row:
    """The row with only what `privacy` allows; users and sessions as keyed hashes, messages as JSON."""
    allowed = KEPT[privacy]
    kept = Row._make(value if name in allowed else None for name, value in zip(Row._fields, row, strict=True))
    if salt is None or privacy == "counts":
        return kept
    return kept._replace(
        session=_keyed(kept.session, "session", salt),
        user=_keyed(kept.user, "user", salt),
        messages=None if kept.messages is None else orjson.dumps(kept.messages).decode(),
    )


def salt_id(salt: bytes) -> str:
    """A name for the salt: the same for two workloads whose sessions may be compared, and it gives nothing away."""
    return hmac.digest(salt, b"gatebench salt id", "sha256").hex()[:8]


def secret_in(text: str) -> str | None:
    """The kind of secret that the text holds, or None."""
    return next((kind for kind, shape in SECRETS.items() if shape.search(text)), None)


def refuse_secrets(texts: Iterable[tuple[str, str]]) -> None:
    """(where, text) pairs about to be written. Raises UsageError that names the place and never shows the secret."""
    for where, text in texts:
        kind = secret_in(text)
        if kind:
            raise UsageError(f"{where} looks like {kind}; nothing was written. Mask it in the log and capture again")


def _keyed(value: str | None, purpose: str, salt: bytes) -> str | None:
    """HMAC-SHA256, the first 128 bits; a user and a session of the same name differ."""
    if value is None:
        return None
    return hmac.new(salt, f"{purpose}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]
