"""Tests of the outbox: sending happens beside the transactions and delays none of them."""

import threading
from collections.abc import Iterator

import pytest

from gateway.jobs import outbox as outbox_module
from gateway.jobs.outbox import LARGEST_GROUP, MOST_WAITING, Outbox
from shared.contracts import Message, WorkMessage
from shared.db.models import Job
from shared.errors import Unavailable
from tests.support.factories import make_job, make_user
from tests.support.servers import until

USER = make_user()
USER.id = "u"


class Wire:
    """Keeps what is sent, once it may."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.is_sending = threading.Event()
        self.may_send = threading.Event()
        self.failures: list[Exception] = []

    @property
    def ids(self) -> list[str]:
        return [id_ for ids in self.sent for id_ in ids]

    def publish(self, message: Message) -> None:
        self.is_sending.set()
        assert self.may_send.wait(10)
        if self.failures:
            raise self.failures.pop()
        assert isinstance(message, WorkMessage)
        self.sent.append([item.job_id for item in message.items])


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbox(wire: Wire) -> Iterator[Outbox]:
    outbox = Outbox(wire.publish)
    outbox.start()
    yield outbox
    wire.may_send.set()
    outbox.stop(10)


def job(number: int) -> Job:
    return make_job(USER, id=str(number), wants_text=True, wants_image=False)


def test_put_returns_while_redis_does_not_answer(wire: Wire, outbox: Outbox) -> None:
    outbox.put([job(1)])
    assert wire.is_sending.wait(10)
    outbox.put([job(2)])
    assert wire.sent == []
    wire.may_send.set()
    until(lambda: wire.sent == [["1"], ["2"]], 10, "both are sent in order")


def test_transactions_that_wait_share_a_message(wire: Wire, outbox: Outbox) -> None:
    outbox.put([job(0)])
    assert wire.is_sending.wait(10)
    for number in range(1, LARGEST_GROUP + 2):
        outbox.put([job(number)])
    wire.may_send.set()
    until(lambda: len(wire.sent) == 3, 10, "all are sent")
    assert [len(ids) for ids in wire.sent] == [1, LARGEST_GROUP, 1]


def test_jobs_share_a_message_while_answers_take_long(
    wire: Wire, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "LONGEST_LINGER_SECONDS", 0.5)
    wire.may_send.set()
    outbox.observe_wait(1000.0)
    # No message was sent a moment ago.
    outbox.put([job(0)])
    until(lambda: wire.sent == [["0"]], 10, "the first is sent")
    for number in (1, 2, 3):
        outbox.put([job(number)])
    until(lambda: len(wire.ids) == 4, 10, "all are sent")
    assert wire.sent == [["0"], ["1", "2", "3"]]


def test_full_messages_and_images_do_not_wait_for_further_jobs(
    wire: Wire, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "LONGEST_LINGER_SECONDS", 60.0)
    outbox.observe_wait(100_000.0)
    outbox.put([job(0)])
    assert wire.is_sending.wait(10)
    for number in range(1, 2 * LARGEST_GROUP + 1):
        outbox.put([job(number)])
    wire.may_send.set()
    until(lambda: len(wire.ids) == 1 + 2 * LARGEST_GROUP, 10, "both full messages are sent")
    outbox.put([make_job(USER, id="image", wants_text=False, wants_image=True, image_uri="a")])
    until(lambda: wire.ids[-1] == "image", 10, "the image is sent")


def test_linger_is_a_share_of_the_time_that_the_last_answer_took(outbox: Outbox) -> None:
    assert outbox.linger_seconds == 0
    outbox.observe_wait(0.1)
    assert outbox.linger_seconds == pytest.approx(0.01)
    outbox.observe_wait(1000.0)
    assert outbox.linger_seconds == outbox_module.LONGEST_LINGER_SECONDS
    # A single client after many others does not wait any more.
    outbox.observe_wait(0.01)
    assert outbox.linger_seconds == pytest.approx(0.001)


def test_full_outbox_leaves_jobs_to_the_sweeper(wire: Wire, outbox: Outbox) -> None:
    outbox.put([job(0)])
    assert wire.is_sending.wait(10)
    for number in range(1, MOST_WAITING + 2):
        outbox.put([job(number)])
    wire.may_send.set()
    outbox.stop(10)
    assert wire.ids == [str(number) for number in range(MOST_WAITING + 1)]


def test_jobs_that_wait_are_sent_before_it_stops(wire: Wire, outbox: Outbox) -> None:
    for number in range(3):
        outbox.put([job(number)])
    wire.may_send.set()
    outbox.stop(10)
    assert sorted(wire.ids) == ["0", "1", "2"]


def test_unexpected_error_ends_nothing(wire: Wire, outbox: Outbox) -> None:
    wire.failures = [ValueError("a message that cannot be encoded")]
    outbox.put([job(1)])
    assert wire.is_sending.wait(10)
    wire.may_send.set()
    until(lambda: not wire.failures, 10, "the first one failed")
    outbox.put([job(2)])
    until(lambda: wire.sent == [["2"]], 10, "the next one is sent")


def test_short_failure_is_tried_again(
    wire: Wire, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_SECONDS", 0.001)
    wire.failures = [Unavailable("it hangs")] * 3
    wire.may_send.set()
    outbox.put([job(1)])
    until(lambda: wire.sent == [["1"]], 10, "it is sent")


def test_long_failure_leaves_jobs_to_the_sweeper_until_one_is_sent(
    wire: Wire, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "PATIENCE_SECONDS", 0.0)
    wire.failures = [Unavailable("it hangs"), Unavailable("it hangs")]
    wire.may_send.set()
    for number in range(4):
        outbox.put([job(number)])
        until(lambda n=number: len(wire.failures) == max(0, 1 - n), 10, "it is tried")  # type: ignore[misc]
    until(lambda: wire.ids == ["2", "3"], 10, "the later ones are sent")


def test_jobs_are_sent_at_once_without_a_thread(wire: Wire) -> None:
    wire.may_send.set()
    Outbox(wire.publish).put([job(1), job(2)])
    assert wire.sent == [["1", "2"]]
