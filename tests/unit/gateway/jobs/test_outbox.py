"""Tests of the outbox: sending happens beside the transactions and delays none of them."""

import threading
from collections.abc import Iterator

import pytest

from gateway.jobs.outbox import LARGEST_GROUP, MOST_WAITING, Outbox
from shared.contracts import Message, WorkMessage
from shared.db.models import Job
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
        self.failures = 0

    def send(self, messages: list[Message]) -> list[Message]:
        self.is_sending.set()
        assert self.may_send.wait(10)
        if self.failures:
            self.failures -= 1
            raise ValueError("a message that cannot be encoded")
        for message in messages:
            assert isinstance(message, WorkMessage)
            self.sent.append([item.job_id for item in message.items])
        return []


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbox(wire: Wire) -> Iterator[Outbox]:
    outbox = Outbox(wire.send)
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


def test_full_outbox_leaves_jobs_to_the_sweeper(wire: Wire, outbox: Outbox) -> None:
    outbox.put([job(0)])
    assert wire.is_sending.wait(10)
    for number in range(1, MOST_WAITING + 2):
        outbox.put([job(number)])
    wire.may_send.set()
    outbox.stop(10)
    sent = [id_ for ids in wire.sent for id_ in ids]
    assert sent == [str(number) for number in range(MOST_WAITING + 1)]


def test_jobs_that_wait_are_sent_before_it_stops(wire: Wire, outbox: Outbox) -> None:
    for number in range(3):
        outbox.put([job(number)])
    wire.may_send.set()
    outbox.stop(10)
    assert sorted(id_ for ids in wire.sent for id_ in ids) == ["0", "1", "2"]


def test_unexpected_error_ends_nothing(wire: Wire, outbox: Outbox) -> None:
    wire.failures = 1
    outbox.put([job(1)])
    assert wire.is_sending.wait(10)
    wire.may_send.set()
    until(lambda: wire.failures == 0, 10, "the first one failed")
    outbox.put([job(2)])
    until(lambda: wire.sent == [["2"]], 10, "the next one is sent")
