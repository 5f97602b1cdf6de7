"""Redis is stopped or killed: jobs are accepted at once, kept, and sent after its return."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from gateway.operations.requeue import Sweeper
from gateway.settings import SweepSettings
from shared.broker import Broker
from shared.db.models import Job, now
from shared.db.session import UnitOfWork
from tests.integration.stalls.conftest import Gateway
from tests.support.servers import RedisServer, until

QUEUE = "text.interactive"
AT_ONCE = 48
#: The promise is a second; the rest is for a loaded machine.
ACCEPTED_SECONDS = 10


@pytest.fixture(params=["stopped", "killed"])
def away(request: pytest.FixtureRequest, redis_server: RedisServer) -> Callable[[], None]:
    """Return a function that takes Redis away."""
    return redis_server.pause if request.param == "stopped" else redis_server.kill


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database: the fault is that of Redis."""
    return sqlite_url


def test_jobs_are_accepted_at_once_and_sent_after_its_return(
    start_gateway: Callable[..., Gateway],
    unit_of_work: UnitOfWork,
    broker: Broker,
    redis_server: RedisServer,
    away: Callable[[], None],
) -> None:
    gateway = start_gateway()
    until(lambda: broker.depth(QUEUE).waiting > 0, 10, "a job was sent")
    # When many clients submit while Redis is away
    away()
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [one.result() for one in [pool.submit(gateway.submit) for _ in range(AT_ONCE)]]
        assert gateway.is_alive()
    # I expect that all are accepted before it returns, and that reading goes on
    assert {answer.status_code for answer in answers} == {202}
    assert gateway.client.get("/v1/jobs").status_code == 200
    assert time.monotonic() - started < ACCEPTED_SECONDS
    # And that the sweeper sends every one of them
    redis_server.resume_or_restart()
    with unit_of_work() as work:
        work.session.execute(update(Job).values(leased_until=now()))
    sweeper = Sweeper(
        UnitOfWork(unit_of_work.engine, broker), broker.depth, SweepSettings(), broker.workers
    )
    until(lambda: sweeper.sweep() == 0, 20, "nothing is left to send")
    with unit_of_work.reading() as session:
        ids = set(session.scalars(select(Job.id)))
    assert {answer.json()["id"] for answer in answers} <= ids
    # And that the gateway itself sends new ones again.
    waiting = broker.depth(QUEUE).waiting

    def is_sent() -> bool:
        assert gateway.submit().status_code == 202
        return broker.depth(QUEUE).waiting > waiting

    until(is_sent, 20, "new jobs are sent")
