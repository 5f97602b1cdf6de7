from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from shared.contracts import TrainingRequested
from shared.db.models import Base, User
from shared.db.session import UnitOfWork, open_engine, unavailable_if_down
from shared.errors import Unavailable
from shared.files import FULL_WAIT_SECONDS
from shared.settings import DatabaseSettings
from tests.support.factories import make_user
from tests.support.fakes import FakeBroker

MESSAGE = TrainingRequested(trace_id="a" * 32, run_id="r", reason="", requested_by="ada")


class WatchingBroker(FakeBroker):
    """Broker that records how many rows are visible to others when a message is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.unit_of_work: UnitOfWork | None = None

    def publish(self, message: object) -> None:
        assert self.unit_of_work is not None
        self.seen.append(count_users(self.unit_of_work))

    def announce(self, ids: object, channel: str = "") -> None:
        self.publish(ids)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def unit_of_work(tmp_path: Path, broker: FakeBroker) -> Iterator[UnitOfWork]:
    url = SecretStr(f"sqlite:///{tmp_path / 'rayon.db'}")
    engine = open_engine(DatabaseSettings(url=url))
    Base.metadata.create_all(engine)
    yield UnitOfWork(engine, broker)
    engine.dispose()


def count_users(unit_of_work: UnitOfWork) -> int:
    with unit_of_work.reading() as session:
        return len(session.scalars(select(User)).all())


def test_message_is_sent_after_the_commit(unit_of_work: UnitOfWork) -> None:
    watching = WatchingBroker()
    watching.unit_of_work = UnitOfWork(unit_of_work.engine, watching)
    with watching.unit_of_work() as work:
        work.publish(MESSAGE)
        work.session.add(make_user())
        assert watching.seen == []
    assert watching.seen == [1]


def test_final_jobs_are_announced_after_the_commit(unit_of_work: UnitOfWork) -> None:
    watching = WatchingBroker()
    watching.unit_of_work = UnitOfWork(unit_of_work.engine, watching)
    with watching.unit_of_work() as work:
        work.announce(["a", "b"])
        work.session.add(make_user())
    assert watching.seen == [1]


def test_failed_block_sends_no_message_and_keeps_no_row(
    unit_of_work: UnitOfWork, broker: FakeBroker
) -> None:
    def fail() -> None:
        with unit_of_work() as work:
            work.session.add(make_user())
            work.session.flush()
            work.publish(MESSAGE)
            work.announce(["a"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert broker.messages == []
    assert broker.announced == []
    assert count_users(unit_of_work) == 0


def test_rows_are_kept_when_the_queue_is_down(unit_of_work: UnitOfWork, broker: FakeBroker) -> None:
    broker.is_down = True
    with unit_of_work() as work:
        work.session.add(make_user())
        work.publish(MESSAGE)
    assert count_users(unit_of_work) == 1


def test_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    url = SecretStr(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    engine = open_engine(DatabaseSettings(url=url))
    with (
        pytest.raises(Unavailable, match="database does not answer"),
        UnitOfWork(engine, FakeBroker())() as work,
    ):
        work.session.scalars(select(User)).all()
    engine.dispose()


def test_full_disk_of_the_database_is_named(unit_of_work: UnitOfWork) -> None:
    with unit_of_work() as work:
        pages = work.session.execute(text("PRAGMA page_count")).scalar_one()
        # A limit on the pages has the effect of a disk without room, with the same error.
        work.session.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(Unavailable, match="disk of the database is full") as caught:
        fill(unit_of_work)
    assert caught.value.retry_after_seconds == FULL_WAIT_SECONDS
    assert count_users(unit_of_work) == 0


def test_full_disk_of_postgresql_is_named() -> None:
    with (
        pytest.raises(Unavailable, match="disk of the database is full"),
        unavailable_if_down(),
    ):
        raise OperationalError("INSERT", {}, psycopg.errors.DiskFull("could not extend file"))


def fill(unit_of_work: UnitOfWork) -> None:
    with unit_of_work() as work:
        work.session.add_all(make_user(username=f"user-{number}") for number in range(1_000))
