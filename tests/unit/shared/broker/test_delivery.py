import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.broker.delivery import LONGEST_PAUSE_SECONDS, Delivery, Requeue
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
from tests.support.fakes import FakeBroker
from tests.support.servers import until

LIMIT = 4


class Scene:
    """Delivery with a queue in memory, which records its pauses instead of sleeping."""

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


class FakeRedeliveries:
    """Redelivery count of a message, including the present delivery."""

    def __init__(self, times: int, counted: Callable[[], None] = lambda: None) -> None:
        self.times = times
        self.counted = counted
        self.is_forgotten = False

    def count(self) -> int:
        self.counted()
        return self.times

    def forget(self) -> None:
        self.is_forgotten = True


def failing(error: Exception) -> Callable[[Message], None]:
    def handler(_message: Message) -> None:
        raise error

    return handler


def test_first_delivery_is_handled_whole(scene: Scene) -> None:
    message = make_message("1", "2")
    scene.delivery.deliver(message, scene.keep)
    assert scene.handled == [message]
    assert scene.broker.messages == []


def test_redelivered_slice_is_split_without_being_handled(scene: Scene) -> None:
    message = make_message("1", "2", "3")
    scene.delivery.deliver(message, scene.keep, FakeRedeliveries(1))
    assert scene.handled == []
    assert scene.broker.messages == message.split()


def test_redelivered_single_item_is_handled(scene: Scene) -> None:
    scene.delivery.deliver(make_message("1"), scene.keep, FakeRedeliveries(LIMIT - 1))
    assert len(scene.handled) == 1


def test_message_at_the_limit_is_parked_without_being_handled(scene: Scene) -> None:
    message = make_message("1")
    scene.delivery.deliver(message, scene.keep, FakeRedeliveries(LIMIT))
    (parked,) = scene.broker.messages
    assert scene.handled == []
    assert isinstance(parked, MessageParked)
    assert (parked.parked_topic, parked.lane, parked.deliveries) == (
        "score_text",
        Lane.CATALOG,
        LIMIT,
    )
    assert ScoreText.model_validate(parked.payload) == message


def test_message_without_a_lane_is_parked_in_the_interactive_lane(scene: Scene) -> None:
    request = TrainingRequested(trace_id="a" * 32, run_id="r", reason="", requested_by="ada")
    scene.delivery.deliver(request, scene.keep, FakeRedeliveries(LIMIT))
    (parked,) = scene.broker.messages
    assert parked.queue == "fusion.interactive"


@pytest.mark.parametrize("error", [ZeroDivisionError(), InvalidInput("bad"), NotFound("gone")])
def test_failed_message_is_requeued(scene: Scene, error: Exception) -> None:
    with pytest.raises(Requeue):
        scene.delivery.deliver(make_message("1"), failing(error))
    assert scene.broker.messages == []


def test_message_is_sent_again_after_a_transient_failure(scene: Scene) -> None:
    message = make_message("1")
    scene.delivery.deliver(
        message, failing(Unavailable("database down")), FakeRedeliveries(LIMIT - 1)
    )
    assert scene.broker.messages == [message]


def test_back_off_doubles_up_to_the_limit(scene: Scene) -> None:
    scene.delivery.deliver(make_message("1"), failing(Unavailable("down")))
    for times in range(1, LIMIT):
        scene.delivery.deliver(
            make_message("1"), failing(Unavailable("down")), FakeRedeliveries(times)
        )
    assert scene.pauses == [1.0, 2.0, 4.0, 8.0]
    eager = Delivery(BrokerSettings(max_deliveries=99), scene.broker.publish, scene.pauses.append)
    eager.deliver(make_message("1"), failing(Unavailable("down")), FakeRedeliveries(50))
    assert scene.pauses[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(("ids", "times"), [(("1", "2"), 1), (("1",), LIMIT)])
def test_message_is_requeued_if_a_resulting_message_cannot_be_sent(
    scene: Scene, ids: tuple[str, ...], times: int
) -> None:
    scene.broker.is_down = True
    with pytest.raises(Requeue):
        scene.delivery.deliver(make_message(*ids), scene.keep, FakeRedeliveries(times))
    assert scene.handled == []


def test_redelivered_messages_are_handled_one_at_a_time(scene: Scene) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def handler(_message: Message) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(scene.delivery.deliver, make_message("1"), handler, FakeRedeliveries(1))
    assert most == 1


def test_redelivery_is_counted_only_when_the_message_runs(scene: Scene) -> None:
    may_end = threading.Event()
    counted: list[str] = []

    def hold(_message: Message) -> None:
        may_end.wait(10)

    with ThreadPoolExecutor(2) as threads:
        threads.submit(
            scene.delivery.deliver,
            make_message("1"),
            hold,
            FakeRedeliveries(1, lambda: counted.append("first")),
        )
        until(lambda: counted == ["first"], 5, "the first message runs")
        second = FakeRedeliveries(1, lambda: counted.append("second"))
        threads.submit(scene.delivery.deliver, make_message("2"), scene.keep, second)
        assert not may_end.wait(0.05)
        assert counted == ["first"]
        may_end.set()
    assert counted == ["first", "second"]


def test_redelivery_count_is_reset_after_success(scene: Scene) -> None:
    handled, failed = FakeRedeliveries(1), FakeRedeliveries(1)
    scene.delivery.deliver(make_message("1"), scene.keep, handled)
    with pytest.raises(Requeue):
        scene.delivery.deliver(make_message("1"), failing(ZeroDivisionError()), failed)
    assert handled.is_forgotten
    assert not failed.is_forgotten


def test_redelivery_count_is_reset_after_a_transient_failure(scene: Scene) -> None:
    redeliveries = FakeRedeliveries(LIMIT - 1)
    scene.broker.is_down = True
    with pytest.raises(Requeue):
        scene.delivery.deliver(make_message("1"), failing(Unavailable("down")), redeliveries)
    assert redeliveries.is_forgotten
