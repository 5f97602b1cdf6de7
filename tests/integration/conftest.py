"""Databases with the real migrations, and worker processes with a real Redis."""

import json
import os
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.broker import Broker
from shared.db.models import Job, User
from shared.db.session import UnitOfWork, open_engine
from shared.settings import BrokerSettings, DatabaseSettings
from tests.support import preloaded
from tests.support.factories import make_user
from tests.support.fakes import FakeBroker
from tests.support.migrated import MigratedDatabases

#: The minimum of the setting, so that a lost message is redelivered within a test.
VISIBILITY_SECONDS = 5


class WorkerProcess:
    """A worker in its own process, as in production."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._module = module
        self._environment = {**os.environ, **environment}
        self.log = log
        self.starts = 0
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start the process, or start it again after its end."""
        self.starts += 1
        self._process = preloaded.start(self._module, self._environment, self.log)

    def stop(self) -> int:
        """Send SIGTERM, kill the process after 20 s, and return the exit code."""
        assert self._process is not None
        self._process.terminate()
        self._process.join(20)
        if self._process.exitcode is None:
            self.kill()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process, as the kernel does if memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int:
        """ID of the process."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, or `None` while the process runs."""
        assert self._process is not None
        return self._process.exitcode


class Workers:
    """Worker processes of one test, which end with it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self._started: list[WorkerProcess] = []

    def start(self, module: str, **environment: str) -> WorkerProcess:
        """Start a worker with additional environment variables."""
        log = self._folder / f"{module}-{len(self._started)}.log"
        worker = WorkerProcess(module, {**self.environment, **environment}, log)
        self._started.append(worker)
        worker.start()
        return worker

    def kill(self) -> None:
        """Kill all workers and print the end of their logs."""
        for worker in self._started:
            worker.kill()
            # pytest shows this output for a failed test.
            print(worker.log.read_text()[-4000:])


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, once for SQLite and once for PostgreSQL."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(scope="session")
def migrated_databases(tmp_path_factory: pytest.TempPathFactory) -> MigratedDatabases:
    """Return databases at the newest revision, which tests copy."""
    return MigratedDatabases(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def unit_of_work(database_url: str, migrated_databases: MigratedDatabases) -> Iterator[UnitOfWork]:
    """Provide a unit of work on a migrated database and a queue in memory."""
    migrated_databases.copy_to(database_url)
    engine = open_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield UnitOfWork(engine, FakeBroker())
    engine.dispose()


@pytest.fixture
def user(unit_of_work: UnitOfWork) -> User:
    """Return an account in the database."""
    user = make_user()
    with unit_of_work() as work:
        work.session.add(user)
    return user


@pytest.fixture
def broker_settings(redis_url: str) -> BrokerSettings:
    """Return the settings of a queue with short timeouts."""
    return BrokerSettings(
        url=SecretStr(redis_url),
        visibility_timeout_seconds=VISIBILITY_SECONDS,
        max_deliveries=2,
        retry_delay_seconds=0.05,
    )


@pytest.fixture
def broker(broker_settings: BrokerSettings) -> Broker:
    """Return the connection of this process to the queue."""
    return Broker(broker_settings)


def worker_environment(redis_url: str) -> dict[str, str]:
    """Return the environment of a worker with short timeouts."""
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
    """Provide workers on the empty Redis."""
    workers = Workers(worker_environment(redis_url), tmp_path)
    yield workers
    workers.kill()


def statuses(unit_of_work: UnitOfWork, ids: list[str]) -> dict[str, str]:
    """Return the status of each job."""
    with unit_of_work.reading() as session:
        rows = session.query(Job.id, Job.status).where(Job.id.in_(ids)).all()
    return {row.id: row.status for row in rows}
