"""Catalogs on real databases, with concurrent feeders, cancellations and requests."""

import io
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from gateway.catalogs import service as catalogs
from gateway.catalogs.counting import counts
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


def submit(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal, number: int, key: str | None
) -> str:
    catalog = Catalogs(unit_of_work, storage, CatalogSettings()).submit(
        principal, upload(number), version="1", idempotency_key=key, trace_id="t"
    )
    return catalog.id


def make_feeder(unit_of_work: UnitOfWork, storage: Storage, owner: str) -> Feeder:
    feeder = Feeder(
        unit_of_work,
        CatalogFiles(storage, 1_000, 10_000_000),
        CatalogSettings(text_slice=7, text_window=100_000, lease_seconds=1.0),
        max_characters=100,
        job_lease_seconds=30.0,
        workers=lambda: dict.fromkeys(Modality, 1),
    )
    object.__setattr__(feeder._leases, "owner", owner)
    return feeder


def numbers(unit_of_work: UnitOfWork, catalog_id: str) -> list[int]:
    with unit_of_work.reading() as session:
        ids = session.scalars(select(Job.id).where(Job.catalog_id == catalog_id)).all()
    return sorted(row_of_job(id_) for id_ in ids)


def test_concurrent_feeders_create_one_job_for_each_row(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    ids = [submit(unit_of_work, storage, principal, number, None) for number in range(4)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=make_feeder(unit_of_work, storage, f"feeder:{n}").run, args=(stop,))
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


def test_catalog_cancelled_while_it_is_fed_leaves_no_queued_job(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = submit(unit_of_work, storage, principal, 0, None)
    feeder, stop = make_feeder(unit_of_work, storage, "feeder:1"), threading.Event()
    thread = threading.Thread(target=feeder.run, args=(stop,))
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


def test_concurrent_requests_with_the_same_key_create_one_catalog(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    start, found = threading.Barrier(4), Counter[str]()

    def send() -> None:
        start.wait()
        found[submit(unit_of_work, storage, principal, 0, "key")] += 1

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert list(found.values()) == [4]
    assert storage.folders("catalogs") == [f"catalogs/{next(iter(found))}"]
    with unit_of_work.reading() as session:
        assert session.scalar(select(func.count()).select_from(Catalog)) == 1


def test_counts_use_the_index_of_catalog_and_status(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = submit(unit_of_work, storage, principal, 0, None)
    if unit_of_work.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics, and a small table has none")
    statements: list[tuple[str, object]] = []
    event.listen(
        unit_of_work.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, *_: statements.append((statement, values)),
    )
    with unit_of_work.reading() as session:
        catalog = session.get(Catalog, id_)
        assert catalog is not None
        counts(session, [catalog])
    queries = [query for query in statements if "FROM jobs" in query[0]]
    assert len(queries) == 1
    with unit_of_work.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {queries[0][0]}", queries[0][1])  # type: ignore[arg-type]
        assert any("ix_jobs_catalog_id_status" in str(line) for line in plan)


def test_jobs_of_a_catalog_use_the_catalog_lane(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = submit(unit_of_work, storage, principal, 0, None)
    feeder = make_feeder(unit_of_work, storage, "feeder:1")
    until(feeder.step, SECONDS, "the catalog is fed")
    feeder.close()
    with unit_of_work.reading() as session:
        lanes = session.scalars(select(Job.lane).where(Job.catalog_id == id_).distinct()).all()
    assert lanes == [Lane.CATALOG.value]
