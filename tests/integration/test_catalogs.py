"""Catalogs on real databases: several feeders, cancels and requests at the same moment."""

import io
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from gateway.catalogs import service as catalogs
from gateway.catalogs.feeder import Feeder
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.service import Catalogs
from gateway.catalogs.upload import Upload
from gateway.identity.principal import Principal
from gateway.settings import CatalogSettings
from shared.contracts import Lane, Modality
from shared.db.models import Catalog, Job, Role, User, row_of_job
from shared.db.session import UnitOfWork
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.servers import until

ROWS = 300
SECONDS = 60


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


@pytest.fixture
def principal(user: User) -> Principal:
    return Principal(user.id, user.username, Role.CLIENT, "session")


def upload(number: int = 0) -> Upload:
    rows = "".join(f"catalog {number} title {row}\n" for row in range(ROWS))
    return Upload("p.csv", io.BytesIO(b"designation\n" + rows.encode()), None, "fusion", "1", False)


def take(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal, number: int, key: str | None
) -> str:
    taken = Catalogs(unit_of_work, storage, CatalogSettings()).submit(
        principal, upload(number), version="1", idempotency_key=key, trace_id="t"
    )
    return taken.id


def feeder(unit_of_work: UnitOfWork, storage: Storage, owner: str) -> Feeder:
    made = Feeder(
        unit_of_work,
        CatalogFiles(storage, 1_000),
        CatalogSettings(text_slice=7, text_window=100_000, lease_seconds=1.0),
        max_characters=100,
        job_lease_seconds=30.0,
        workers=lambda: dict.fromkeys(Modality, 1),
    )
    object.__setattr__(made._leases, "owner", owner)
    return made


def numbers(unit_of_work: UnitOfWork, catalog_id: str) -> list[int]:
    with unit_of_work.reading() as session:
        ids = session.scalars(select(Job.id).where(Job.catalog_id == catalog_id)).all()
    return sorted(row_of_job(id_) for id_ in ids)


def test_feeders_at_once_make_each_row_one_job(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    ids = [take(unit_of_work, storage, principal, number, None) for number in range(4)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=feeder(unit_of_work, storage, f"feeder:{n}").run, args=(stop,))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    try:
        until(
            lambda: all(len(numbers(unit_of_work, id_)) == ROWS for id_ in ids),
            SECONDS,
            "every row is fed",
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join(SECONDS)
    assert [numbers(unit_of_work, id_) for id_ in ids] == [list(range(1, ROWS + 1))] * 4


def test_cancel_that_races_with_feeding_leaves_nothing_queued(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = take(unit_of_work, storage, principal, 0, None)
    works, stop = feeder(unit_of_work, storage, "feeder:1"), threading.Event()
    thread = threading.Thread(target=works.run, args=(stop,))
    thread.start()
    try:
        until(lambda: len(numbers(unit_of_work, id_)) > 20, SECONDS, "rows are fed")
        with unit_of_work() as work:
            catalogs.cancel(work.session, principal, id_)
    finally:
        stop.set()
        thread.join(SECONDS)
    with unit_of_work.reading() as session:
        query = select(Job.status, func.count()).where(Job.catalog_id == id_).group_by(Job.status)
        assert [status for status, _ in session.execute(query)] == ["cancelled"]


def test_same_key_at_the_same_moment_is_one_catalog(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    start, found = threading.Barrier(4), Counter[str]()

    def send() -> None:
        start.wait()
        found[take(unit_of_work, storage, principal, 0, "key")] += 1

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert list(found.values()) == [4]
    assert storage.folders("catalogs") == [f"catalogs/{next(iter(found))}"]
    with unit_of_work.reading() as session:
        assert session.scalar(select(func.count()).select_from(Catalog)) == 1


def test_counting_reads_only_what_is_not_done(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = take(unit_of_work, storage, principal, 0, None)
    if unit_of_work.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL chooses by its statistics, which a small table has not")
    statements: list[tuple[str, object]] = []
    event.listen(
        unit_of_work.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, *_: statements.append((statement, values)),
    )
    with unit_of_work.reading() as session:
        catalog = session.get(Catalog, id_)
        assert catalog is not None
        catalogs.counts(session, [catalog])
    asked = [one for one in statements if "FROM jobs" in one[0]]
    assert len(asked) == 1
    with unit_of_work.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1])  # type: ignore[arg-type]
        assert any("ix_jobs_catalog_id_status" in str(line) for line in plan)


def test_jobs_of_a_catalog_travel_in_their_lane(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = take(unit_of_work, storage, principal, 0, None)
    works = feeder(unit_of_work, storage, "feeder:1")
    until(works.step, SECONDS, "it is fed")
    works.close()
    with unit_of_work.reading() as session:
        lanes = session.scalars(select(Job.lane).where(Job.catalog_id == id_).distinct()).all()
    assert lanes == [Lane.CATALOG.value]
