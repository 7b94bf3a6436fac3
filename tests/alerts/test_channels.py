"""Against real receivers on loopback, a webhook and a mail server, through Apprise as it is installed."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.alerts.channels import PAUSES_S, Delivery, scheme, send
from tasks.alerts.message import Message
from tests.fakes.receivers import Mailbox, Receiver, text_of

MESSAGE = Message("gatebench: nightly regressed", "p95 latency at 10 concurrent is 212 ms, +48 % [+41, +56]")
REFUSED = "the channel refused the message or did not answer"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    running = Mailbox()
    yield running
    running.stop()


class Waits(list[float]):
    """A sleep that takes no time and remembers how long it was asked for."""

    def __call__(self, pause_s: float) -> None:
        self.append(pause_s)


def test_a_message_arrives_at_a_webhook_as_it_was_written(receiver: Receiver) -> None:
    assert send([receiver.url()], MESSAGE) == [Delivery("json", True, None)]
    ((path, got),) = receiver.got
    assert path.rstrip("/") == "/hook"
    assert (got["title"], got["message"]) == (MESSAGE.title, MESSAGE.body)


def test_a_message_arrives_as_a_mail_with_its_title_as_the_subject(mailbox: Mailbox) -> None:
    assert send([mailbox.url()], MESSAGE) == [Delivery("mailto", True, None)]
    (mail,) = mailbox.got
    assert (mail["subject"], mailbox.logins) == (MESSAGE.title, [("night", "right")])
    assert "ops@example.org" in mail["to"]
    assert MESSAGE.body in text_of(mail)


def test_a_channel_that_fails_is_reported_and_does_not_stop_the_others(receiver: Receiver) -> None:
    urls = ["json://127.0.0.1:1/secret-token", "nonsense://secret-token", receiver.url()]
    deliveries = send(urls, MESSAGE, sleep=Waits())
    assert [(d.channel, d.ok) for d in deliveries] == [("json", False), ("nonsense", False), ("json", True)]
    assert len(receiver.got) == 1


def test_a_channel_that_fails_is_tried_again_and_the_others_are_not(receiver: Receiver, mailbox: Mailbox) -> None:
    waits = Waits()
    mailbox.refuse = 2
    deliveries = send([mailbox.url(), receiver.url()], MESSAGE, sleep=waits)
    assert deliveries == [Delivery("mailto", True, None, attempts=3), Delivery("json", True, None)]
    assert (len(mailbox.got), len(receiver.got)) == (1, 1)
    assert waits == list(PAUSES_S)
    assert waits == sorted(set(waits))  # longer each time


def test_a_channel_that_keeps_failing_is_given_up_and_said(receiver: Receiver) -> None:
    waits = Waits()
    receiver.statuses = [500, 503, 502, 500]
    assert send([receiver.url()], MESSAGE, sleep=waits) == [Delivery("json", False, REFUSED, attempts=3)]
    assert (len(receiver.got), len(waits)) == (3, 2)


def test_an_address_that_no_service_knows_is_not_waited_for() -> None:
    waits = Waits()
    (delivery,) = send(["nonsense://secret"], MESSAGE, sleep=waits)
    assert delivery == Delivery("nonsense", False, "not an address that Apprise knows (nonsense://…)")
    assert waits == []


def test_an_address_is_never_logged_or_told(
    receiver: Receiver, mailbox: Mailbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = "T0KEN-that-nobody-may-see"
    receiver.statuses = [500] * 9
    urls: list[Any] = [receiver.url(token), f"json://127.0.0.1:1/{token}", f"nonsense://{token}", token]
    deliveries = send([*urls, mailbox.url(token)], MESSAGE, sleep=Waits())
    assert [d.ok for d in deliveries] == [False] * 5
    assert (len(receiver.got), mailbox.logins[0]) == (3, ("night", token))  # it was used, and refused by name
    assert token not in caplog.text
    assert token not in repr(deliveries)
    out, err = capfd.readouterr()
    assert token not in out + err


def test_only_the_scheme_of_an_address_is_said() -> None:
    assert scheme("slack://T/B/x") == "slack"
    assert scheme("just-a-token") == "?"
    assert scheme("weird token://x") == "?"
