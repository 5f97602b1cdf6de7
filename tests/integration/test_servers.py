"""The servers of the tests keep data and isolate tests."""

import redis
import sqlalchemy

from tests.support.servers import RedisServer


def test_redis_keeps_its_data_after_a_crash(redis_server: RedisServer) -> None:
    with redis.Redis(port=redis_server.port) as client:
        client.set("kept", "yes")
    redis_server.restart()
    with redis.Redis(port=redis_server.port) as client:
        assert client.get("kept") == b"yes"


def test_each_test_has_an_empty_postgresql_database(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_stat_user_tables").scalar() == 0
    engine.dispose()
