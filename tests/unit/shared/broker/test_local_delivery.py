"""Delivery to a handler in the publishing process."""

import pytest

from shared.broker import LocalDelivery
from shared.contracts import Lane, Message, Modality, ModalityScore, ModalityScored, ScoreText
from shared.errors import Unavailable
from tests.support.fakes import FakeBroker

SCORED = ModalityScored(
    trace_id="a" * 32,
    lane=Lane.INTERACTIVE,
    release="1",
    modality=Modality.TEXT,
    items=(ModalityScore(job_id="job", probabilities=(0.2, 0.8)),),
)
OTHER = ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=())


def test_message_of_the_type_stays_in_the_process() -> None:
    broker, received = FakeBroker(), list[Message]()
    LocalDelivery(broker, ModalityScored, received.append).publish(SCORED)
    assert (received, broker.messages) == ([SCORED], [])


def test_message_of_another_type_is_sent() -> None:
    broker, received = FakeBroker(), list[Message]()
    LocalDelivery(broker, ModalityScored, received.append).publish(OTHER)
    assert (received, broker.messages) == ([], [OTHER])


@pytest.mark.parametrize("error", [Unavailable("The database does not answer"), ArithmeticError()])
def test_message_that_cannot_be_handled_is_sent(error: Exception) -> None:
    def fail(_message: ModalityScored) -> None:
        raise error

    broker = FakeBroker()
    LocalDelivery(broker, ModalityScored, fail).publish(SCORED)
    assert broker.messages == [SCORED]


def test_message_that_can_be_neither_handled_nor_sent_is_an_error() -> None:
    def fail(_message: ModalityScored) -> None:
        raise Unavailable("The database does not answer")

    broker = FakeBroker()
    broker.is_down = True
    with pytest.raises(Unavailable, match="message queue"):
        LocalDelivery(broker, ModalityScored, fail).publish(SCORED)


def test_announcements_are_passed_on() -> None:
    broker = FakeBroker()
    LocalDelivery(broker, ModalityScored, lambda _message: None).announce({"job": None})
    assert broker.announced == ["job"]
