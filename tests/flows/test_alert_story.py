"""What is told of a night, and what is not told again: through the book, to receivers that sometimes fail."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from storage.errors import BookLocked
from storage.records import Slo, SloResult
from storage.store import Book
from tasks.alert import NOBODY, alert_run, failed_words, nights_before, tell
from tasks.alerts.channels import Delivery, send
from tasks.alerts.message import Message
from tasks.publish import view_of
from tests.fakes.house import House
from tests.fakes.receivers import Mailbox, Receiver

TAIL = {"latency_p95": 1.3, "latency_p99": 1.3, "latency_p50": 1.3, "ttft_p95": 1.3}
SLO = Slo("p95(latency) < 200ms", "p95", "latency", 0.2, None)


class Channel:
    """A channel that takes messages, or fails while it is `down`."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.down = False

    def __call__(self, urls: Sequence[str], message: Message) -> list[Delivery]:
        if self.down:
            return [Delivery("slack", False, "refused", attempts=3)]
        self.got.append(message)
        return [Delivery("slack", True, None)]

    def titles(self) -> list[str]:
        return [message.title.removeprefix("gatebench: nightly ") for message in self.got]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.held.close()


@pytest.fixture
def channel() -> Channel:
    return Channel()


def night(house: House, channel: Channel, slow: dict[str, float] | None = None, kept: bool | None = True) -> None:
    """One night, with one objective that is `kept` or not, told to the channel."""
    house.night(slow)
    result = SloResult(SLO, "gw", "replay", 0, 0.18 if kept else 0.26, kept)
    house.book.add_slo_results(house.nights[-1], [result])
    alert_run(house.nights[-1], house.plan, house.settings, channel)


def test_a_night_in_which_everything_got_slower_is_one_message(house: House, channel: Channel) -> None:
    for _ in range(6):
        night(house, channel)
    night(house, channel, TAIL)
    assert channel.titles() == ["regressed"]
    (message,) = channel.got
    assert "Incident 1 opened" in message.body
    assert len([v for v in house.book.verdicts(house.nights[-1]) if v.verdict == "regressed"]) > 4


def test_what_is_known_is_not_told_again_and_its_end_is_told_once(house: House, channel: Channel) -> None:
    for slow in [None] * 6 + [TAIL] * 3 + [None] * 6:
        night(house, channel, slow)
    assert channel.titles() == ["regressed", "fixed"]


def test_a_broken_objective_is_told_on_its_first_night_and_when_it_is_kept_again(
    house: House, channel: Channel
) -> None:
    for kept in (True, False, False, None, True, True, False):
        night(house, channel, kept=kept)
    assert channel.titles() == ["objective broken", "objective kept again", "objective broken"]
    assert "Kept again: p95(latency) < 200ms: measured 180 ms" in channel.got[1].body


def test_what_nobody_could_be_told_of_is_told_on_the_next_night(house: House, channel: Channel) -> None:
    for _ in range(6):
        night(house, channel)
    channel.down = True
    night(house, channel, TAIL, kept=False)
    night(house, channel, TAIL, kept=False)
    assert channel.got == []
    channel.down = False
    night(house, channel, TAIL, kept=False)
    night(house, channel, TAIL, kept=False)
    assert channel.titles() == ["regressed and objective broken"]
    assert channel.got[0].body.count("Incident 1 opened") == 1


def test_a_run_that_is_alerted_twice_is_told_once(house: House, channel: Channel) -> None:
    night(house, channel, kept=False)
    assert alert_run(house.nights[-1], house.plan, house.settings, channel) == []
    assert channel.titles() == ["objective broken"]


def test_a_run_that_failed_in_the_night_is_no_night_to_compare_objectives_with(house: House, channel: Channel) -> None:
    night(house, channel, kept=False)
    house.night(status="failed")
    night(house, channel, kept=False)
    assert channel.titles() == ["objective broken"]
    untold, last = nights_before(house.book, house.book.run(house.nights[-1]))
    assert (untold, last and last.run_id) == ([], house.nights[0])


def test_an_ad_hoc_run_is_told_by_itself(house: House, channel: Channel) -> None:
    night(house, channel, kept=False)
    house.night(scheduled=False)
    house.book.add_slo_results(house.nights[-1], [SloResult(SLO, "gw", "replay", 0, 0.26, False)])
    alert_run(house.nights[-1], house.plan, house.settings, channel)
    assert channel.titles() == ["objective broken"] * 2


def test_a_channel_that_fails_stands_on_the_run_and_not_in_its_verdict(house: House, channel: Channel) -> None:
    channel.down = True
    night(house, channel, kept=False)
    view = view_of(house.nights[-1], house.settings)
    assert view.undelivered == ["slack: refused"]
    assert view.run.status == "completed"
    assert failed_words(channel([], Message("", ""))) == ["slack: refused (tried 3 times)"]


def test_whatever_goes_wrong_comes_back_as_a_delivery_that_failed(house: House) -> None:
    house.night()
    house.book.add_slo_results(house.nights[-1], [SloResult(SLO, "gw", "replay", 0, 0.26, False)])

    def locked(urls: Sequence[str], message: Message) -> list[Delivery]:
        raise BookLocked("the book is held by process 7")

    def broken(urls: Sequence[str], message: Message) -> list[Delivery]:
        raise ValueError("slack://secret")

    run = house.nights[-1]
    assert tell(run, house.plan, house.settings, locked) == [Delivery(NOBODY, False, "the book is held by process 7")]
    (delivery,) = tell(run, house.plan, house.settings, broken)
    assert delivery.error is not None
    assert delivery.error.startswith("ValueError in test_alert_story.py:")
    assert "secret" not in repr(delivery)


def test_one_night_reaches_a_webhook_and_a_mailbox_and_the_book_holds_no_address(house: House) -> None:
    receiver, mailbox = Receiver(), Mailbox()
    try:
        urls = tuple(SecretStr(url) for url in (receiver.url("t0ken"), mailbox.url(), "json://127.0.0.1:1/t0ken"))
        house.night()
        house.book.add_slo_results(house.nights[-1], [SloResult(SLO, "gw", "replay", 0, 0.26, False)])
        settings = Settings(home=house.settings.home, alert_urls=urls)
        told = alert_run(house.nights[-1], house.plan, settings, lambda to, message: send(to, message, pauses_s=()))
    finally:
        receiver.stop()
        mailbox.stop()
    assert [(d.channel, d.ok) for d in told] == [("json", True), ("mailto", True), ("json", False)]
    assert receiver.got[0][1]["title"] == mailbox.got[0]["subject"] == "gatebench: nightly objective broken"
    (row,) = Book(house.settings.book_path).alerts(house.nights[-1])
    assert (row.channels, row.error) == (3, "json: the channel refused the message or did not answer")
    assert "t0ken" not in repr(row)
