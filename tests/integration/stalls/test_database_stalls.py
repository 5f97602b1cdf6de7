"""The database hangs: a locked SQLite file, a stopped or unreachable PostgreSQL."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, select

from shared.db.session import UnitOfWork, open_engine
from shared.db.stalls import breakers_of
from shared.errors import Unavailable
from shared.settings import DatabaseSettings
from tests.integration.stalls.conftest import Gateway
from tests.support.fakes import FakeBroker
from tests.support.servers import until

AT_ONCE = 60
#: The limit of a wait in these tests, and a generous bound of a refusal.
LIMIT_SECONDS, REFUSED_SECONDS = 0.5, 20


@contextmanager
def locked_file(url: str) -> Iterator[None]:
    """Hold the write lock of a SQLite database, as a tool or a backup may do."""
    connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def stopped_server(pid: int) -> Iterator[None]:
    """Stop PostgreSQL with all its processes: it accepts connections and answers nothing."""
    server = psutil.Process(pid)
    found = [server, *server.children(recursive=True)]
    for process in found:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            os.kill(process.pid, signal.SIGCONT)


def submit_many(gateway: Gateway) -> list[Any]:
    """Submit products at once, and check that it is alive meanwhile."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(gateway.submit) for _ in range(AT_ONCE)]
        assert gateway.is_alive()
        return [one.result() for one in sent]


class TestLockedSQLite:
    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    def test_submissions_are_refused_in_time_and_reading_goes_on(
        self, start_gateway: Callable[..., Gateway], database_url: str
    ) -> None:
        gateway = start_gateway(RAYON_GATEWAY_DATABASE_SECONDS=str(LIMIT_SECONDS))
        with locked_file(database_url):
            started = time.monotonic()
            answers = submit_many(gateway)
            assert time.monotonic() - started < REFUSED_SECONDS
            assert {answer.status_code for answer in answers} == {503}
            assert all("retry-after" in answer.headers for answer in answers)
            assert gateway.client.get("/v1/jobs").status_code == 200
            assert gateway.client.get("/readyz").status_code == 200
        until(lambda: gateway.submit().status_code == 202, 20, "jobs are accepted again")


class TestStoppedPostgreSQL:
    @pytest.fixture
    def database_url(self, postgres_url: str) -> str:
        return postgres_url

    def test_requests_are_refused_in_time_and_accepted_after_its_return(
        self, start_gateway: Callable[..., Gateway], postmaster: int
    ) -> None:
        gateway = start_gateway(RAYON_GATEWAY_DATABASE_SECONDS=str(LIMIT_SECONDS))
        with stopped_server(postmaster):
            started = time.monotonic()
            answers = submit_many(gateway)
            assert time.monotonic() - started < REFUSED_SECONDS
            assert {answer.status_code for answer in answers} == {503}
            assert gateway.client.get("/v1/jobs").status_code == 503
            assert gateway.client.get("/readyz").status_code == 503
            assert gateway.is_alive()
        until(lambda: gateway.submit().status_code == 202, 20, "jobs are accepted again")

    def test_statement_of_a_background_process_ends_with_an_error(
        self, database_url: str, postmaster: int
    ) -> None:
        settings = DatabaseSettings(url=SecretStr(database_url), answer_seconds=LIMIT_SECONDS)
        unit_of_work = UnitOfWork(open_engine(settings), FakeBroker())
        with unit_of_work.reading() as session:
            session.execute(select(1))
        with stopped_server(postmaster):
            started = time.monotonic()
            with pytest.raises(Unavailable), unit_of_work() as work:
                work.session.execute(select(1))
            assert time.monotonic() - started < REFUSED_SECONDS
        with unit_of_work.reading() as session:
            assert session.scalar(select(1)) == 1
        unit_of_work.engine.dispose()

    def test_slow_statement_is_not_ended_while_the_server_answers(self, database_url: str) -> None:
        settings = DatabaseSettings(url=SecretStr(database_url), answer_seconds=0.2)
        breakers = breakers_of(settings)
        engine = open_engine(settings, breakers)
        with UnitOfWork(engine, FakeBroker(), breakers).reading() as session:
            assert session.connection().exec_driver_sql("SELECT 1 FROM pg_sleep(2)").scalar() == 1
        engine.dispose()


class Proxy:
    """Forwards connections to PostgreSQL until it swallows everything, like a dead firewall."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_dead = threading.Event()
        self._kept: list[socket.socket] = []
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._is_closed = True
        for one in (self._listener, *self._kept):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(near)
            if self._is_closed:
                near.close()
                return
            if self.is_dead.is_set():
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            self._kept.append(far)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65_536):
                if not self.is_dead.is_set():
                    sink.sendall(piece)
        except OSError:
            return


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    folder = make_url(postgres_url).query["host"]
    proxy = Proxy(f"{folder}/.s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def unit_of_work_by_tcp(postgres_url: str, proxy: Proxy) -> Iterator[UnitOfWork]:
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port, query={})
    settings = DatabaseSettings(
        url=SecretStr(url.render_as_string(hide_password=False)), answer_seconds=LIMIT_SECONDS
    )
    unit_of_work = UnitOfWork(open_engine(settings), FakeBroker())
    yield unit_of_work
    unit_of_work.engine.dispose()


def test_connections_notice_a_dead_network(unit_of_work_by_tcp: UnitOfWork) -> None:
    with unit_of_work_by_tcp.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as used:
            options = {
                "keepalive": used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                "idle": used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                "interval": used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                "count": used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                "user_timeout": used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            }
    assert options == {
        "keepalive": 1, "idle": 10, "interval": 5, "count": 3, "user_timeout": 20_000
    }  # fmt: skip


def test_statement_behind_a_dead_firewall_ends_with_an_error(
    unit_of_work_by_tcp: UnitOfWork, proxy: Proxy
) -> None:
    with unit_of_work_by_tcp.reading() as session:
        session.execute(select(1))
    proxy.is_dead.set()
    started = time.monotonic()
    with pytest.raises(Unavailable), unit_of_work_by_tcp.reading() as session:
        session.execute(select(1))
    assert time.monotonic() - started < REFUSED_SECONDS
