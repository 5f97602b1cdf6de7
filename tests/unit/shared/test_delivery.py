from collections.abc import Callable

import pytest

from shared.broker.delivery import LONGEST_PAUSE_SECONDS, Delivery, TryAgain
from shared.contracts import (
    Lane,
    Message,
    MessageParked,
    ScoreText,
    TextItem,
    TrainingRequested,
)
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.settings import BrokerSettings
from tests.fakes import FakeBroker

LIMIT = 4


class Scene:
    """A delivery with a queue in memory that notes its pauses instead of sleeping."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.pauses: list[float] = []
        self.handled: list[Message] = []
        settings = BrokerSettings(max_deliveries=LIMIT, retry_delay_seconds=1.0)
        self.delivery = Delivery(settings, self.broker.publish, self.pauses.append)

    def keep(self, message: Message) -> None:
        self.handled.append(message)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def make_message(*job_ids: str) -> ScoreText:
    items = tuple(TextItem(job_id=id_, designation="x", description="") for id_ in job_ids)
    return ScoreText(trace_id="a" * 32, lane=Lane.CATALOG, release="1", items=items)


def failing(error: Exception) -> Callable[[Message], None]:
    def handler(_message: Message) -> None:
        raise error

    return handler


def test_first_delivery_is_handled_whole(scene: Scene) -> None:
    message = make_message("1", "2")
    scene.delivery.deliver(message, scene.keep, 0)
    assert scene.handled == [message]
    assert scene.broker.messages == []


def test_redelivered_slice_is_taken_apart_unhandled(scene: Scene) -> None:
    message = make_message("1", "2", "3")
    scene.delivery.deliver(message, scene.keep, 1)
    assert scene.handled == []
    assert scene.broker.messages == message.split()


def test_redelivered_single_item_is_handled(scene: Scene) -> None:
    scene.delivery.deliver(make_message("1"), scene.keep, LIMIT - 1)
    assert len(scene.handled) == 1


def test_message_is_parked_at_the_limit_unhandled(scene: Scene) -> None:
    message = make_message("1")
    scene.delivery.deliver(message, scene.keep, LIMIT)
    (parked,) = scene.broker.messages
    assert scene.handled == []
    assert isinstance(parked, MessageParked)
    assert (parked.parked_topic, parked.lane, parked.deliveries) == (
        "score_text",
        Lane.CATALOG,
        LIMIT,
    )
    assert ScoreText.model_validate(parked.payload) == message


def test_message_without_a_lane_is_parked_in_the_interactive_one(scene: Scene) -> None:
    request = TrainingRequested(trace_id="a" * 32, run_id="r", reason="", requested_by="ada")
    scene.delivery.deliver(request, scene.keep, LIMIT)
    (parked,) = scene.broker.messages
    assert parked.queue == "fusion.interactive"


@pytest.mark.parametrize("error", [ZeroDivisionError(), InvalidInput("bad"), NotFound("gone")])
def test_failed_message_goes_back_and_is_counted(scene: Scene, error: Exception) -> None:
    with pytest.raises(TryAgain):
        scene.delivery.deliver(make_message("1"), failing(error), 0)
    assert scene.broker.messages == []


def test_transient_failure_is_sent_anew_so_that_it_is_never_parked(scene: Scene) -> None:
    message = make_message("1")
    scene.delivery.deliver(message, failing(Unavailable("database down")), LIMIT - 1)
    assert scene.broker.messages == [message]


def test_pauses_double_up_to_the_longest(scene: Scene) -> None:
    for earlier in range(LIMIT):
        scene.delivery.deliver(make_message("1"), failing(Unavailable("down")), earlier)
    assert scene.pauses == [1.0, 2.0, 4.0, 8.0]
    eager = Delivery(BrokerSettings(max_deliveries=99), scene.broker.publish, scene.pauses.append)
    eager.deliver(make_message("1"), failing(Unavailable("down")), 50)
    assert scene.pauses[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("earlier", [1, LIMIT])
def test_message_goes_back_when_what_follows_cannot_be_sent(scene: Scene, earlier: int) -> None:
    scene.broker.is_down = True
    with pytest.raises(TryAgain):
        scene.delivery.deliver(make_message("1", "2"), scene.keep, earlier)
