"""Shapes of keys, credentials and personal data, as they may stand in a text that is about to be written."""

import re
from collections.abc import Callable

OPAQUE = re.compile(r"[A-Za-z0-9]{28,}")
LEAST_DIGITS = 4

# A border before `sk-`, so that `risk-model` is a model and not a key.
SHAPES: dict[str, re.Pattern[str]] = {
    "an API key (sk-…)": re.compile(r"(?<![A-Za-z0-9])(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"),
    "a bearer token": re.compile(r"(?<![A-Za-z])[Bb]earer\s+[A-Za-z0-9._~+/=-]{8,}"),
    "basic credentials": re.compile(r"(?<![A-Za-z])[Bb]asic\s+[A-Za-z0-9+/]{8,}={0,2}(?![A-Za-z])"),
    "an AWS access key": re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{12,}"),
    "an AWS secret key": re.compile(
        r"(?<![A-Za-z0-9/+=])(?=[A-Za-z0-9/+]*[a-z])(?=[A-Za-z0-9/+]*[A-Z])(?=[A-Za-z0-9/+]*[0-9])"
        r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
    "a JSON web token": re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "a Google API key": re.compile(r"(?<![A-Za-z0-9])(?:AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,})"),
    "a GitHub token": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}"),
    "a GitLab token": re.compile(r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{16,}"),
    "a token (hf_, gsk_, xox…)": re.compile(
        r"(?<![A-Za-z0-9])(?:hf_|gsk_|xai-|pplx-|r8_|npm_|dop_v1_|SG\.|xox[abeprs]-)[A-Za-z0-9._-]{16,}"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "a URL with a password": re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,64}:[^\s/@]{1,128}@"),
    "a cookie": re.compile(r"(?i)(?<![a-z])(?:set-cookie|cookie)\s*[:=]|(?<![a-z])session(?:id)?=[a-z0-9%._-]{8,}"),
    "a password": re.compile(
        r"(?i)(?<![a-z])(?:password|passwd|pwd|api[_-]?key|secret|token)[\"']?\s?[=:]\s?[\"']?"
        r"(?=[^\s\"',]{0,80}\d)[^\s\"',]{6,}"
    ),
    "an e-mail address": re.compile(
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,}"
    ),
    "a telephone number": re.compile(r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}\d){7,14}(?!\d)"),
    "a US social security number": re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
}
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")  # no part of a hash
IPV4 = re.compile(r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w-]|\.\d)")
IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}(?::?[0-9a-fA-F]{1,4}){1,4}(?![\w:])")


def secret_in(text: str) -> str | None:
    """The kind of key, credential or personal data that the text holds, or None. A name of a person has no shape."""
    for kind, shape in SHAPES.items():
        if shape.search(text):
            return kind
    return next((kind for kind, found in COUNTED.items() if found(text)), None)


def opaque(text: str) -> bool:
    """Is there a run of letters and digits in it that no name has, as keys without a telling start are made of?"""
    return any(sum(c.isdigit() for c in run) >= LEAST_DIGITS for run in OPAQUE.findall(text))


def _iban(text: str) -> bool:
    """ISO 13616: moved by four and with A = 10 … Z = 35, it leaves 1 when divided by 97."""
    for found in IBAN.findall(text):
        plain = found.replace(" ", "")
        if int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1:
            return True
    return False


def _card(text: str) -> bool:
    """ISO/IEC 7812: a Luhn sum that ends in 0, of a number that starts like a card's."""
    return any(digits[0] in "23456" and _luhn(digits) for digits in map(_digits, CARD.findall(text)))


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(doubled) + sum(int(d) for d in digits[::-2])) % 10 == 0


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


COUNTED: dict[str, Callable[[str], bool]] = {
    "a bank account (IBAN)": _iban,
    "a card number": _card,
    "an IP address": lambda text: bool(IPV4.search(text) or IPV6.search(text)),
}
