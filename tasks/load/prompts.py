"""Prompts made from token counts: common short English words, one token each in the usual vocabularies.

A prompt is a salt (the same for a leg, different between legs, always SALT_WORDS words, at the front, so that no prefix
cache filled by one leg serves another) and a slice of a long seeded text (different for each request). Where recorded
prompts began with the same blocks of tokens, so do these: the blocks follow the salt, each with a text of its own.
"""

import hashlib
import random
from collections.abc import Sequence

WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea kid body "
    "information back parent face others level office door health person art war history party result change morning "
    "reason research girl guy moment air teacher force education foot boy age policy music market sense nation plan "
    "college interest death experience effect use class control field development role effort rate heart drug show "
    "leader light voice wife police mind price report decision son view relationship town road arm difference value "
    "building action season society tax director position player record paper space ground form event official matter "
    "center couple site project activity star table need court oil situation cost industry figure street image phone "
    "data picture practice piece land product doctor wall patient worker news test movie north love support step"
).split()
SALT_WORDS = 6
_TEXT_WORDS = 1 << 14


class Prompts:
    """`text(seq, tokens)`: a prompt of about `tokens` tokens for request `seq`. Same seed and salt, same bytes.

    `tokens_per_word`: what the target's own count says of one of these words, see `flows.wording`.
    """

    def __init__(self, seed: int, salt: str, *, tokens_per_word: float = 1.0, block_tokens: int | None = None) -> None:
        rng = random.Random(seed)
        words = [rng.choice(WORDS) for _ in range(_TEXT_WORDS)]
        self._text = " ".join(words).encode()
        self._at = [0]
        for word in words:
            self._at.append(self._at[-1] + len(word) + 1)
        self._salt_text = salt
        self._round, self._salt = 0, salt_words(salt)
        self._seed = seed
        self._per_word = tokens_per_word
        self._block_words = 0 if block_tokens is None else max(1, round(block_tokens / tokens_per_word))

    def text(self, seq: int, tokens: int, blocks: Sequence[int] | None = None) -> bytes:
        count = tokens if self._per_word == 1.0 else round(tokens / self._per_word)
        if count <= SALT_WORDS:  # no room for a salt and a text: the words are both
            return _words(f"{self._salt_text}/{seq}", max(1, count))
        left = count - SALT_WORDS
        if blocks and self._block_words:
            return b" ".join([salt_words(self._salt_text), *self._shared(blocks, left, seq)])
        if self._round != seq // _TEXT_WORDS:  # the texts begin again, after another salt
            self._round = seq // _TEXT_WORDS
            self._salt = salt_words(f"{self._salt_text}/{self._round}" if self._round else self._salt_text)
        return b" ".join([self._salt, *self._slice(self._seed + seq * 7919, left)])

    def _shared(self, blocks: Sequence[int], left: int, seq: int) -> list[bytes]:
        """`left` words: the text of each block, then words of this request's own."""
        parts: list[bytes] = []
        for block in blocks:
            take = min(left, self._block_words)
            if take <= 1:
                break
            parts.append(_words(f"{self._seed}/{block}", 2))  # slices of two blocks may be the same, these are not
            parts += self._slice(block * 104729, take - 2)
            left -= take
        return parts + self._slice(self._seed + seq * 7919, left)

    def _slice(self, at: int, count: int) -> list[bytes]:
        """`count` words of the long text from word `at` on, round and round."""
        parts: list[bytes] = []
        at %= _TEXT_WORDS
        while count > 0:
            take = min(count, _TEXT_WORDS - at)
            parts.append(self._text[self._at[at] : self._at[at + take] - 1])
            count -= take
            at = 0
        return parts


def salt_words(salt: str) -> bytes:
    return _words(salt, SALT_WORDS)


def _words(key: str, count: int) -> bytes:
    """Up to 32 words that only `key` decides."""
    digest = hashlib.sha256(key.encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[:count]).encode()
