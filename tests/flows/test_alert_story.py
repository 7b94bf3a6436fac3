"""What is told of a night, and what is not told again: through the book, to receivers that sometimes fail."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.plan import Plan
from config.settings import Settings
from storage.connection import open_file
from storage.errors import BookLocked
from storage.records import Slo, SloResult
from storage.store import Book
from tasks.alert import NOBODY, alert_run, failed_words, nights_before, tell
from tasks.alerts.channels import Delivery, send
from tasks.alerts.message import Message
from tasks.publish import view_of
from tests.fakes.house import House
from tests.fakes.receivers import Mailbox, Receiver
from tests.fakes.records import run

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


class Nights:
    """Nights of which only the objective matters; their plan has one target."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.book = Book(self.settings.book_path)
        self.book.runs()
        self.held = open_file(self.settings.book_path)
        self.plan = Plan.model_validate({"targets": [{"name": "gw", "url": "http://127.0.0.1:1/v1", "model": "m"}]})
        self.channel = Channel()
        self.ids: list[str] = []

    def night(self, kept: bool | None, *, scheduled: bool = True, status: str = "completed") -> None:
        """One night, its objective `kept` or not, told to the channel."""
        self.measure(kept, scheduled=scheduled, status=status)
        self.tell()

    def measure(self, kept: bool | None, *, scheduled: bool = True, status: str = "completed") -> None:
        at = f"2026-06-{len(self.ids) + 1:02d}T02:00:00+00:00"
        run_id = f"202606{len(self.ids) + 1:02d}T020000Z-nightly-0000"
        self.ids.append(run_id)
        plan = self.plan.model_dump(mode="json")
        self.book.start_run(
            run(run_id=run_id, status=status, scheduled=scheduled, started_at=at, ended_at=at, plan=plan)
        )
        if status == "completed":
            self.book.add_slo_results(run_id, [SloResult(SLO, "gw", "replay", 0, 0.18 if kept else 0.26, kept)])

    def tell(self) -> list[Delivery]:
        return alert_run(self.ids[-1], self.plan, self.settings, self.channel)


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    nights = Nights(tmp_path)
    yield nights
    nights.held.close()


def test_a_night_is_one_message_what_is_known_is_not_told_again_and_its_end_is_told_once(tmp_path: Path) -> None:
    house, channel = House(tmp_path), Channel()

    def night(slow: dict[str, float] | None = None) -> None:
        house.night(slow)
        alert_run(house.nights[-1], house.plan, house.settings, channel)

    for _ in range(4):
        night()
    channel.down = True
    night(TAIL)
    assert len([v for v in house.book.verdicts(house.nights[-1]) if v.verdict == "regressed"]) > 4
    channel.down = False
    night(TAIL)  # nobody could be told of it before
    night(TAIL)
    assert channel.titles() == ["regressed"]
    assert channel.got[0].body.count("Incident 1 opened") == 1
    for _ in range(4):
        night()
    assert channel.titles() == ["regressed", "fixed"]
    house.held.close()


def test_a_broken_objective_is_told_on_its_first_night_and_when_it_is_kept_again(nights: Nights) -> None:
    for kept in (True, False, False, None, True, True, False):
        nights.night(kept)
    assert nights.channel.titles() == ["objective broken", "objective kept again", "objective broken"]
    assert "Kept again: p95(latency) < 200ms: measured 180 ms" in nights.channel.got[1].body


def test_an_objective_of_which_nobody_could_be_told_is_told_on_the_next_night(nights: Nights) -> None:
    nights.night(True)
    nights.channel.down = True
    nights.night(False)
    nights.night(False)
    nights.channel.down = False
    nights.night(False)
    nights.night(False)
    assert nights.channel.titles() == ["objective broken"]


def test_a_run_that_is_alerted_twice_is_told_once(nights: Nights) -> None:
    nights.night(False)
    assert nights.tell() == []
    assert nights.channel.titles() == ["objective broken"]


def test_a_run_that_failed_in_the_night_is_no_night_to_compare_objectives_with(nights: Nights) -> None:
    nights.night(False)
    nights.measure(None, status="failed")
    nights.night(False)
    assert nights.channel.titles() == ["objective broken"]
    untold, last = nights_before(nights.book, nights.book.run(nights.ids[-1]))
    assert (untold, last and last.run_id) == ([], nights.ids[0])


def test_an_ad_hoc_run_is_told_by_itself(nights: Nights) -> None:
    nights.night(False)
    nights.night(False, scheduled=False)
    assert nights.channel.titles() == ["objective broken"] * 2


def test_a_channel_that_fails_stands_on_the_run_and_not_in_its_verdict(nights: Nights) -> None:
    nights.channel.down = True
    nights.measure(False)
    assert failed_words(nights.tell()) == ["slack: refused (tried 3 times)"]
    view = view_of(nights.ids[-1], nights.settings)
    assert view.undelivered == ["slack: refused"]
    assert view.run.status == "completed"


def test_whatever_goes_wrong_comes_back_as_a_delivery_that_failed(nights: Nights) -> None:
    nights.measure(False)

    def locked(urls: Sequence[str], message: Message) -> list[Delivery]:
        raise BookLocked("the book is held by process 7")

    def broken(urls: Sequence[str], message: Message) -> list[Delivery]:
        raise ValueError("slack://secret")

    run, plan, settings = nights.ids[-1], nights.plan, nights.settings
    assert tell(run, plan, settings, locked) == [Delivery(NOBODY, False, "the book is held by process 7")]
    (delivery,) = tell(run, plan, settings, broken)
    assert delivery.error is not None
    assert delivery.error.startswith("ValueError in test_alert_story.py:")
    assert "secret" not in repr(delivery)


def test_one_night_reaches_a_webhook_and_a_mailbox_and_the_book_holds_no_address(nights: Nights) -> None:
    receiver, mailbox = Receiver(), Mailbox()
    try:
        urls = tuple(SecretStr(url) for url in (receiver.url("t0ken"), mailbox.url(), "json://127.0.0.1:1/t0ken"))
        nights.measure(False)
        settings = Settings(home=nights.settings.home, alert_urls=urls)
        told = alert_run(nights.ids[-1], nights.plan, settings, lambda to, message: send(to, message, pauses_s=()))
    finally:
        receiver.stop()
        mailbox.stop()
    assert [(d.channel, d.ok) for d in told] == [("json", True), ("mailto", True), ("json", False)]
    assert receiver.got[0][1]["title"] == mailbox.got[0]["subject"] == "gatebench: nightly objective broken"
    (row,) = nights.book.alerts(nights.ids[-1])
    assert (row.channels, row.error) == (3, "json: the channel refused the message or did not answer")
    assert "t0ken" not in repr(row)
