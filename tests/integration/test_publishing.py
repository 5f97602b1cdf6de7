"""Messages are sent after the commit, and a queue that is down loses no row."""

import base64
import json
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import func, select

from shared.broker import Broker
from shared.broker.clients import celery_app
from shared.broker.presence import Activity
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import User
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.settings import BrokerSettings
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


def test_headers_hold_no_copy_of_the_message(redis_url: str) -> None:
    Broker(BrokerSettings(url=SecretStr(redis_url))).publish(make_message())
    with redis.Redis.from_url(redis_url) as client:
        (sent,) = client.lrange(QUEUE, 0, -1)
    assert b"trace_id" in base64.b64decode(json.loads(sent)["body"])
    assert b"trace_id" not in sent


def test_client_for_sending_and_acknowledging_is_reused(redis_url: str) -> None:
    app = celery_app(BrokerSettings(url=SecretStr(redis_url)), Activity(), 5)
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        used = [client for _ in range(2) for client in _clients(channel)]
        assert used[0] is used[1]
        # After a broken connection the channel has another pool.
        channel._pool = None
        (other,) = _clients(channel)
        assert other is not used[0]
        assert other.connection_pool is channel.pool


def _clients(channel: Any) -> list[Any]:
    with channel.conn_or_acquire() as client:
        client.ping()
        return [client]
