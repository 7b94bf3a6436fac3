"""Prompts made from token counts: common short English words, one token each in the usual vocabularies.

A prompt is a salt (the same for a leg, different between legs, always SALT_WORDS words, at the front, so that no prefix
cache filled by one leg serves another) and a slice of a long seeded text (different for each request).
"""

import hashlib
import random

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
    """`text(seq, words)`: a prompt of about `words` tokens for request `seq`. Same seed and salt, same bytes."""

    def __init__(self, seed: int, salt: str) -> None:
        rng = random.Random(seed)
        words = [rng.choice(WORDS) for _ in range(_TEXT_WORDS)]
        self._text = " ".join(words).encode()
        self._at = [0]
        for word in words:
            self._at.append(self._at[-1] + len(word) + 1)
        digest = hashlib.sha256(salt.encode()).digest()
        self._salt = " ".join(WORDS[byte % len(WORDS)] for byte in digest[:SALT_WORDS]).encode()
        self._seed = seed

    def text(self, seq: int, words: int) -> bytes:
        left = max(1, words) - SALT_WORDS
        if left <= 0:
            return b" ".join(self._salt.split(b" ")[: max(1, words)])
        parts = [self._salt]
        start = (self._seed + seq * 7919) % _TEXT_WORDS
        while left > 0:
            take = min(left, _TEXT_WORDS - start)
            parts.append(self._text[self._at[start] : self._at[start + take] - 1])
            left -= take
            start = 0
        return b" ".join(parts)
