"""Messages are sent after the commit, and a queue that is down loses no row."""

import pytest
from sqlalchemy import func, select

from shared.broker import Broker
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import User
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from tests.support.factories import make_user
from tests.support.servers import RedisServer

QUEUE = "text.interactive"


@pytest.fixture
def work_with_redis(unit_of_work: UnitOfWork, broker: Broker) -> UnitOfWork:
    return UnitOfWork(unit_of_work.engine, broker)


def make_message() -> ScoreText:
    items = (TextItem(job_id="1", designation="x", description=""),)
    return ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def count_users(unit_of_work: UnitOfWork) -> int:
    with unit_of_work.reading() as session:
        return session.scalar(select(func.count()).select_from(User)) or 0


def test_message_is_sent_only_after_the_commit(work_with_redis: UnitOfWork, broker: Broker) -> None:
    with work_with_redis() as work:
        work.session.add(make_user())
        work.publish(make_message())
        assert broker.depth(QUEUE).waiting == 0
    depth = broker.depth(QUEUE)
    assert depth.waiting == 1
    assert depth.oldest_published_at is not None
    assert count_users(work_with_redis) == 1


def test_rollback_sends_nothing(work_with_redis: UnitOfWork, broker: Broker) -> None:
    def fail() -> None:
        with work_with_redis() as work:
            work.session.add(make_user())
            work.session.flush()
            work.publish(make_message())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert broker.depth(QUEUE).waiting == 0
    assert count_users(work_with_redis) == 0


def test_row_is_committed_while_the_queue_is_unavailable(
    work_with_redis: UnitOfWork, broker: Broker, redis_server: RedisServer
) -> None:
    redis_server.kill()
    assert broker.trouble() == "does not answer"
    with pytest.raises(Unavailable, match="message queue does not answer"):
        broker.publish(make_message())
    with pytest.raises(Unavailable):
        broker.depth(QUEUE)
    with work_with_redis() as work:
        work.session.add(make_user())
        work.publish(make_message())
    assert count_users(work_with_redis) == 1


def test_broker_publishes_again_after_a_restart_of_redis(
    broker: Broker, redis_server: RedisServer
) -> None:
    broker.publish(make_message())
    redis_server.restart()
    broker.publish(make_message())
    assert broker.depth(QUEUE).waiting == 2
