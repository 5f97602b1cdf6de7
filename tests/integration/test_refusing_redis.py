"""Redis answers and refuses to write: jobs wait in the database, and workers wait with them."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import redis
from kombu import Connection
from sqlalchemy import select, update

from gateway.identity.principal import Principal
from gateway.jobs.submission import Jobs, Offer, Product
from gateway.operations.requeue import Sweeper
from gateway.settings import SweepSettings
from gateway.web.rates import Rate, Rates, shared_storage
from shared.broker import Broker
from shared.broker.transport import Transport
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import Job, Role, User, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.logs import new_trace_id
from shared.settings import BrokerSettings, StorageSettings
from shared.storage import Storage
from tests.integration.conftest import VISIBILITY_SECONDS, WorkerProcess, Workers
from tests.integration.probe_worker import DONE, PARKED
from tests.support.redis_faults import FAULTS, Fault
from tests.support.servers import until

QUEUE = "text.interactive"
START_SECONDS = 30
RECOVERY_SECONDS = 4 * VISIBILITY_SECONDS + START_SECONDS
#: Long enough for a worker to poll, to fail and to poll again.
REFUSED_SECONDS = 4.0
MAX_ATTEMPTS = 3
#: Words of Redis, of which the client removes some codes.
REASONS = {
    "OOM": "maxmemory",
    "READONLY": "read only replica",
    "MISCONF": "MISCONF",
    "NOREPLICAS": "NOREPLICAS",
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database: the fault is that of Redis."""
    return sqlite_url


@pytest.fixture(params=list(FAULTS.values()), ids=list(FAULTS))
def fault(request: pytest.FixtureRequest) -> Fault:
    """Return each way in which Redis refuses to write."""
    found: Fault = request.param
    return found


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def probe(workers: Workers, broker: Broker) -> WorkerProcess:
    worker = workers.start("tests.integration.probe_worker")
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    return worker


@pytest.fixture
def there(unit_of_work: UnitOfWork, broker: Broker) -> UnitOfWork:
    """Provide a unit of work that sends its messages to Redis."""
    return UnitOfWork(unit_of_work.engine, broker)


def slice_of(job_id: str, title: str = "fine") -> ScoreText:
    items = (TextItem(job_id=job_id, designation=title, description=""),)
    return ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def overdue(unit_of_work: UnitOfWork) -> None:
    """Let the leases of all jobs end."""
    with unit_of_work() as work:
        work.session.execute(update(Job).values(leased_until=now(), published_at=now()))


def rows(unit_of_work: UnitOfWork) -> list[Job]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def submit(there: UnitOfWork, user: User, folder: Path, count: int) -> None:
    """Submit products as the gateway does."""
    storage = Storage(StorageSettings(url=str(folder)))
    jobs = Jobs(there, storage, lease_seconds=30)
    for number in range(count):
        principal = Principal(user.id, user.username, Role(user.role), session_id="")
        product = Product(f"Piscine {number}", "", b"", "fusion", "champion")
        jobs.submit(Offer(principal, product, "1", new_trace_id()))


def test_jobs_are_kept_and_sent_after_any_number_of_refusals(
    there: UnitOfWork, user: User, broker: Broker, client: redis.Redis, fault: Fault, tmp_path: Path
) -> None:
    sweeper = Sweeper(there, broker.depth, SweepSettings(max_attempts=MAX_ATTEMPTS), broker.workers)
    with fault(client):
        submit(there, user, tmp_path, 3)
        for _ in range(2 * MAX_ATTEMPTS):
            overdue(there)
            assert sweeper.sweep() == 0
        assert [(job.status, job.attempts) for job in rows(there)] == [("queued", 0)] * 3
    overdue(there)
    assert sweeper.sweep() == 3
    assert [(job.status, job.attempts) for job in rows(there)] == [("queued", 1)] * 3
    assert broker.depth(QUEUE).waiting == 3


@pytest.mark.timeout(600)
def test_worker_waits_and_then_handles_everything(
    probe: WorkerProcess, broker: Broker, client: redis.Redis
) -> None:
    expected: set[str] = set()
    for name, fault in FAULTS.items():
        # Given a worker in the middle of a message, and others that wait
        waiting = {f"{name}-{number}" for number in range(8)}
        for id_ in sorted(waiting):
            broker.publish(slice_of(id_, "slow"))
        until(lambda: broker.depth(QUEUE).running > 0, START_SECONDS, "a message is running")
        # When Redis refuses to write for a while
        with fault(client):
            with pytest.raises(Unavailable):
                broker.publish(slice_of("refused"))
            time.sleep(REFUSED_SECONDS)
            assert probe.exit_code is None, name
        # I expect that the same worker handles them and new ones
        broker.publish(slice_of(f"{name}-new"))
        expected |= waiting | {f"{name}-new"}
        _until_handled(client, expected, name)
    assert client.hgetall(PARKED) == {}
    assert (probe.exit_code, probe.starts) == (None, 1)


def _until_handled(client: redis.Redis, jobs: set[str], name: str) -> None:
    def is_handled() -> bool:
        return jobs <= set(client.hgetall(DONE))

    until(is_handled, RECOVERY_SECONDS, f"all are handled after {name}")


ENDS: dict[str, Callable[[Any], None]] = {
    "acknowledged": lambda message: message.ack(),
    "requeued": lambda message: message.requeue(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_message_that_redis_keeps_makes_room_for_the_next(
    broker_settings: BrokerSettings,
    client: redis.Redis,
    fault: Fault,
    end: Callable[[Any], None],
) -> None:
    # Given a consumer that takes one message at a time
    with Connection(broker_settings.url.get_secret_value(), transport=Transport) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        channel.queue_declare(QUEUE)
        for text in ("first", "second"):
            channel.basic_publish(channel.prepare_message(text), exchange="", routing_key=QUEUE)
        taken: list[Any] = []
        channel.basic_consume(QUEUE, False, taken.append, "tag")
        while not taken:
            with suppress(Empty):
                connection.drain_events(timeout=1)
        assert not channel.qos.can_consume()
        # When Redis refuses to end the first
        with fault(client):
            end(taken[0])
        # Then the consumer takes the second
        assert channel.qos.can_consume()


def test_worker_starts_while_redis_refuses(
    workers: Workers, broker: Broker, client: redis.Redis, fault: Fault
) -> None:
    broker.publish(slice_of("early"))
    with fault(client):
        probe = workers.start("tests.integration.probe_worker")
        time.sleep(2 * REFUSED_SECONDS)
        assert probe.exit_code is None
    until(lambda: set(client.hgetall(DONE)) == {"early"}, RECOVERY_SECONDS, "it is handled")
    assert probe.starts == 1


def test_rates_are_counted_in_memory_meanwhile(
    broker_settings: BrokerSettings, client: redis.Redis, fault: Fault
) -> None:
    rates = Rates(shared_storage(broker_settings))
    with fault(client):
        rates.count(Rate("requests", 2, 60), "ada")
        rates.take(Rate("failed sign-ins", 2, 60), "ada")


def test_broker_says_what_redis_refuses(
    request: pytest.FixtureRequest, broker: Broker, client: redis.Redis, fault: Fault
) -> None:
    assert broker.trouble() is None
    with fault(client):
        reason = broker.trouble()
    assert reason is not None
    assert REASONS[request.node.callspec.id] in reason
    assert broker.trouble() is None
