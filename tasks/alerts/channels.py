"""Where a message goes. A channel's address holds its token, so it is never printed, logged or put into an error."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import apprise

from tasks.alerts.message import Message

SCHEME = re.compile(r"^[a-z][a-z0-9+.-]{0,30}$", re.IGNORECASE)
PAUSES_S = (2.0, 10.0)  # between the three attempts
LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True)
class Delivery:
    """`channel`: the scheme alone, as in `slack`; `error` None: delivered; `attempts`: how often it was tried."""

    channel: str
    ok: bool
    error: str | None
    attempts: int = 1


def send(
    urls: Sequence[str],
    message: Message,
    pauses_s: Sequence[float] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Delivery]:
    """One delivery a channel, in the order given. Those that fail are tried once more after each pause, the others are
    not: who took a message does not get it twice. A channel that still fails is reported, never raised: the verdict
    stands whether anybody hears of it or not."""
    boxes = [_box(url) for url in urls]
    found = [_send_one(box, scheme(url), message) for box, url in zip(boxes, urls, strict=True)]
    for pause in pauses_s:
        again = [k for k, one in enumerate(found) if not one.ok and boxes[k] is not None]
        if not again:
            break
        sleep(pause)
        for k in again:
            found[k] = replace(_send_one(boxes[k], found[k].channel, message), attempts=found[k].attempts + 1)
    return found


def _box(url: str) -> "apprise.Apprise | None":
    """None: no address that Apprise knows, which waiting does not mend."""
    try:
        with _silent():
            box = apprise.Apprise()
            return box if box.add(url) else None
    except Exception:  # whatever a plugin raises of an address that it cannot read
        return None


def _send_one(box: "apprise.Apprise | None", channel: str, message: Message) -> Delivery:
    if box is None:
        return Delivery(channel, False, f"not an address that Apprise knows ({channel}://…)")
    try:
        with _silent():
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
