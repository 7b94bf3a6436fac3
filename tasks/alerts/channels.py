"""Where a message goes. A channel's address holds its token, so it is never printed, logged or put into an error."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import apprise

from tasks.alerts.message import Message

SCHEME = re.compile(r"^[a-z][a-z0-9+.-]{0,30}$", re.IGNORECASE)
LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True)
class Delivery:
    """`channel`: the scheme alone, as in `slack`; `error` None: delivered."""

    channel: str
    ok: bool
    error: str | None


def send(urls: Sequence[str], message: Message) -> list[Delivery]:
    """One delivery a channel, in the order given. A channel that fails is reported, never raised: the verdict stands
    whether anybody hears of it or not."""
    return [_send_one(url, message) for url in urls]


def _send_one(url: str, message: Message) -> Delivery:
    channel = scheme(url)
    try:
        with _silent():
            box = apprise.Apprise()
            if not box.add(url):
                return Delivery(channel, False, f"not an address that Apprise knows ({channel}://…)")
            sent = box.notify(
                title=message.title,
                body=message.body,
                body_format=apprise.NotifyFormat.TEXT,
                notify_type=apprise.NotifyType.WARNING,
            )
    except Exception as error:  # whatever a plugin raises; its text may hold the address, its class does not
        return Delivery(channel, False, f"{type(error).__name__} while sending")
    return Delivery(channel, bool(sent), None if sent else "the channel refused the message or did not answer")


@contextmanager
def _silent() -> Iterator[None]:
    """Apprise and the client below it write whole addresses into their logs: not while we send."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def scheme(url: str) -> str:
    """What may be said of an address: `slack` of `slack://token/…`; `?` where even that could be a token."""
    name, separator, _ = url.strip().partition("://")
    return name.lower() if separator and SCHEME.match(name) else "?"
