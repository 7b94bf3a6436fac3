"""What of a log may be kept: an allow-list per privacy level, and a scan for secrets that fails closed."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, get_args

import orjson

from storage.errors import UsageError
from tasks.workload.formats.adapter import Row
from tasks.workload.secrets import opaque, secret_in

Privacy = Literal["counts", "structure", "text"]
LEVELS: tuple[Privacy, ...] = get_args(Privacy)
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

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")  # one word, as the names of models are
NOT_SAID = "withheld"  # in the place of a short text that looks like a secret


def known_level(privacy: str) -> Privacy:
    """Raises UsageError for an unknown level."""
    for level in LEVELS:
        if privacy == level:
            return level
    raise UsageError(f"unknown privacy level {privacy!r}; choose from {', '.join(LEVELS)}")


def check_level(privacy: str, salt: bytes | None) -> None:
    """Raises UsageError for an unknown level, or one that needs a salt and has none worth the name."""
    known_level(privacy)
    if privacy != "counts" and (salt is None or len(salt) < LEAST_SALT):
        raise UsageError(
            f"privacy {privacy!r} hides users and sessions behind a salt of at least {LEAST_SALT} bytes; "
            "set GATEBENCH_SALT, and keep it apart from the workload"
        )


def redact(row: Row, privacy: str, salt: bytes | None) -> Row:
    """The row with only what `privacy` allows; users and sessions as keyed hashes, messages as JSON."""
    allowed = KEPT[privacy]
    kept = Row._make(value if name in allowed else None for name, value in zip(Row._fields, row, strict=True))
    if kept.failure is not None:
        kept = kept._replace(failure=harmless(kept.failure, "failure"))
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


def is_name_of_model(text: str) -> bool:
    """Anything else in its place is prose, or a key, and is not kept; keys of a known shape refuse the capture."""
    return bool(MODEL.fullmatch(text)) and not opaque(text)


@lru_cache(maxsize=4096)
def harmless(text: str, instead: str = NOT_SAID) -> str:
    """The text, or `instead` if it looks like a secret: for short texts that nobody misses."""
    return instead if secret_in(text) or secret_in(text.lower()) or opaque(text) else text


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
