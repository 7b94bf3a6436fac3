"""Which prompts begin alike, kept as small numbers that say nothing of their text."""

import hmac
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

BLOCK_CHARACTERS = 256
BLOCK_TOKENS = 64  # of such a block, at about four characters a token


class Numbers:
    """Numbers blocks from 0 as they are first met, over all sources of a capture."""

    def __init__(self) -> None:
        self._of: dict[Hashable, int] = {}

    def of(self, blocks: Iterable[Hashable]) -> list[int]:
        return [self._of.setdefault(block, len(self._of)) for block in blocks]


def chained(messages: Any, salt: bytes) -> Iterator[bytes]:
    """A keyed hash of each whole block of a prompt and of all before it: equal hashes are equal beginnings.

    What is no list of messages, or is not text (images), ends the chain.
    """
    text = "".join(_texts(messages))
    link = b""
    for start in range(0, len(text) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
        block = text[start : start + BLOCK_CHARACTERS].encode("utf-8", "surrogatepass")
        link = hmac.digest(salt, b"prefix\0" + link + block, "sha256")[:16]
        yield link


def _texts(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, Mapping):
            return
        yield f"\0{message.get('role')}\0"
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, Mapping) else part
            if not isinstance(text, str):
                return
            yield text
