"""Databases with the real migrations, and worker processes on a real Redis."""

import json
import os
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.broker import Broker
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Job, User
from shared.db.session import UnitOfWork, open_engine
from shared.settings import BrokerSettings, DatabaseSettings
from tests.support import preloaded
from tests.support.factories import make_user
from tests.support.fakes import FakeBroker

#: The shortest that settings allow, so that a lost message comes again within a test.
VISIBILITY_SECONDS = 5


class WorkerProcess:
    """A worker in a process of its own, as production runs it."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._module = module
        self._environment = {**os.environ, **environment}
        self.log = log
        self.starts = 0
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start, also again after it ended."""
        self.starts += 1
        self._process = preloaded.start(self._module, self._environment, self.log)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code; kill it after 20 s."""
        assert self._process is not None
        self._process.terminate()
        self._process.join(20)
        if self._process.exitcode is None:
            self.kill()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once, as the kernel would when memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.join()

    @property
    def ended(self) -> int | None:
        """Exit code, or `None` while it runs."""
        assert self._process is not None
        return self._process.exitcode


class Workers:
    """Starts worker processes of one test, and ends them with it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self._started: list[WorkerProcess] = []

    def start(self, module: str, **environment: str) -> WorkerProcess:
        """Start one worker."""
        log = self._folder / f"{module}-{len(self._started)}.log"
        worker = WorkerProcess(module, {**self.environment, **environment}, log)
        self._started.append(worker)
        worker.start()
        return worker

    def end(self) -> None:
        """End all."""
        for worker in self._started:
            worker.kill()
            # Shown by pytest for a test that failed.
            print(worker.log.read_text()[-4000:])


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty database, once for each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def unit_of_work(database_url: str) -> Iterator[UnitOfWork]:
    """A migrated database, and a queue in memory."""
    upgrade(database_url)
    engine = open_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield UnitOfWork(engine, FakeBroker())
    engine.dispose()


@pytest.fixture
def user(unit_of_work: UnitOfWork) -> User:
    """An account in the database."""
    user = make_user()
    with unit_of_work() as work:
        work.session.add(user)
    return user


@pytest.fixture
def broker_settings(redis_url: str) -> BrokerSettings:
    """An impatient queue."""
    return BrokerSettings(
        url=SecretStr(redis_url),
        visibility_timeout_seconds=VISIBILITY_SECONDS,
        max_deliveries=2,
        retry_delay_seconds=0.05,
    )


@pytest.fixture
def broker(broker_settings: BrokerSettings) -> Broker:
    """This process's connection to the queue."""
    return Broker(broker_settings)


def worker_environment(redis_url: str) -> dict[str, str]:
    """Return the settings of an impatient worker on a Redis."""
    return {
        "RAYON_BROKER_URL": redis_url,
        "RAYON_BROKER_VISIBILITY_TIMEOUT_SECONDS": str(VISIBILITY_SECONDS),
        "RAYON_BROKER_MAX_DELIVERIES": "2",
        "RAYON_BROKER_RETRY_DELAY_SECONDS": "0.05",
        "RAYON_WORKER_THREADS": "4",
        "RAYON_WORKER_MODEL_THREADS": "1",
        "RAYON_WORKER_LANES": json.dumps(["interactive", "catalog"]),
        "RAYON_METRICS_PORT": "0",
        "RAYON_LOG_FORMAT": "console",
    }


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers on the empty Redis."""
    started = Workers(worker_environment(redis_url), tmp_path)
    yield started
    started.end()


def statuses(unit_of_work: UnitOfWork, ids: list[str]) -> dict[str, str]:
    """Read how jobs stand."""
    with unit_of_work.reading() as session:
        rows = session.query(Job.id, Job.status).where(Job.id.in_(ids)).all()
    return {row.id: row.status for row in rows}
