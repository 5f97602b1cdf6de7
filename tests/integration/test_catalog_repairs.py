"""Repairs of catalog rows on real databases, with concurrent people and feeders."""

import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select, update

from gateway.catalogs.counting import counts
from gateway.catalogs.repair import drafts, listing, running
from gateway.catalogs.repair.opened import Repairs
from gateway.catalogs.repair.schemas import Kind, RowChange, RowsPatch
from gateway.catalogs.service import Catalogs
from gateway.catalogs.upload import Upload
from gateway.identity.principal import Principal
from gateway.settings import CatalogSettings
from shared.db.models import Catalog, Job, JobStatus, now, row_job_id
from shared.db.session import UnitOfWork
from shared.storage import Storage
from tests.integration.test_catalogs import make_feeder, numbers, principal, storage
from tests.support.servers import until

__all__ = ["principal", "storage"]

#: Every third row has no title.
ROWS, REJECTED = 60, set(range(3, 61, 3))
SECONDS = 60


def repairs_on(unit_of_work: UnitOfWork, storage: Storage) -> Repairs:
    return Repairs(unit_of_work, storage, CatalogSettings(), 100, 1_000)


def answer_all(unit_of_work: UnitOfWork, **changes: Any) -> None:
    values = {
        "status": JobStatus.DONE.value,
        "finished_at": now(),
        "result": {"degraded": None, "top": []},
        **changes,
    }
    with unit_of_work() as work:
        is_queued = Job.status == JobStatus.QUEUED.value
        work.session.execute(update(Job).where(is_queued).values(**values))


def run_feeders(unit_of_work: UnitOfWork, storage: Storage, is_over: Callable[[], bool]) -> None:
    """Run two feeders, and answer their jobs, until something is so."""
    stop = threading.Event()
    feeders = [make_feeder(unit_of_work, storage, f"feeder:{number}") for number in range(2)]
    threads = [threading.Thread(target=feeder.run, args=(stop,)) for feeder in feeders]
    for thread in threads:
        thread.start()

    def is_over_now() -> bool:
        answer_all(unit_of_work)
        return is_over()

    try:
        until(is_over_now, SECONDS, "the catalog is at its end")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def finished(unit_of_work: UnitOfWork, storage: Storage, principal: Principal) -> str:
    """Run a catalog with rejected rows to its end, and return its ID."""
    titles = ["" if row in REJECTED else f"title {row}" for row in range(1, ROWS + 1)]
    table = "designation,description,price\n" + "".join(
        f"{title},,{title and 1}.5\n" for title in titles
    )
    upload = Upload("p.csv", io.BytesIO(table.encode()), None, "fusion", "1", False)
    catalog = Catalogs(unit_of_work, storage, CatalogSettings()).submit(
        principal, upload, version="1", idempotency_key=None, trace_id="t"
    )
    run_feeders(unit_of_work, storage, lambda: status(unit_of_work, catalog.id) == "finished")
    return catalog.id


def status(unit_of_work: UnitOfWork, id_: str) -> str:
    with unit_of_work.reading() as session:
        return session.scalars(select(Catalog.status).where(Catalog.id == id_)).one()


def counted(unit_of_work: UnitOfWork, id_: str) -> dict[str, int]:
    with unit_of_work.reading() as session:
        catalog = session.get_one(Catalog, id_)
        return vars(counts(session, [catalog])[id_])


def titles(*rows: int, version: int | None = None) -> RowsPatch:
    changes = [
        RowChange(row=row, cells={"designation": f"repaired {row}"}, version=version)
        for row in rows
    ]
    return RowsPatch(rows=changes)


def run(unit_of_work: UnitOfWork, principal: Principal, id_: str) -> int:
    with unit_of_work() as work:
        return running.run(work.session, CatalogSettings(), principal, id_)[1]


def test_one_of_several_people_changes_a_row_first(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = finished(unit_of_work, storage, principal)
    repairs = repairs_on(unit_of_work, storage)
    with ThreadPoolExecutor(4) as people:
        patches = [titles(3, version=0) for _ in range(4)]
        outcomes = list(
            people.map(lambda one: drafts.change(repairs, principal, id_, one), patches)
        )
    assert Counter(one.items[0].saved for one in outcomes) == {True: 1, False: 3}


def test_repaired_rows_are_run_once_by_concurrent_feeders(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = finished(unit_of_work, storage, principal)
    assert counted(unit_of_work, id_)["rejected"] == len(REJECTED)
    drafts.change(repairs_on(unit_of_work, storage), principal, id_, titles(*REJECTED))
    # When two people run them at the same time
    with ThreadPoolExecutor(2) as people:
        queued = sorted(people.map(lambda _: run(unit_of_work, principal, id_), range(2)))
    assert queued == [0, len(REJECTED)]
    assert counted(unit_of_work, id_)["queued"] == len(REJECTED)
    run_feeders(unit_of_work, storage, lambda: status(unit_of_work, id_) == "finished")
    # Then each row has one job
    assert numbers(unit_of_work, id_) == list(range(1, ROWS + 1))
    found = counted(unit_of_work, id_)
    assert (found["done"], found["rejected"], found["failed"]) == (ROWS, 0, 0)


def test_rows_are_repaired_and_run_while_others_still_are_fed(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = finished(unit_of_work, storage, principal)
    repairs = repairs_on(unit_of_work, storage)
    left = sorted(REJECTED)

    def advance() -> bool:
        # One row after another, each as soon as the feeders are at the one before.
        if left:
            drafts.change(repairs, principal, id_, titles(left.pop()))
            run(unit_of_work, principal, id_)
        return not left and status(unit_of_work, id_) == "finished"

    run_feeders(unit_of_work, storage, advance)
    assert counted(unit_of_work, id_)["done"] == ROWS
    assert numbers(unit_of_work, id_) == list(range(1, ROWS + 1))


def test_degraded_and_failed_rows_are_listed_with_their_counts(
    unit_of_work: UnitOfWork, storage: Storage, principal: Principal
) -> None:
    id_ = finished(unit_of_work, storage, principal)
    with unit_of_work() as work:
        for row, values in (
            (1, {"result": {"degraded": "image_unreadable", "degraded_message": "Broken"}}),
            (2, {"status": "failed", "error_code": "model_failed", "error_message": "Gone"}),
        ):
            job = Job.id == row_job_id(id_, row)
            work.session.execute(update(Job).where(job).values(**values))
    repairs = repairs_on(unit_of_work, storage)
    for kind, row, code in (
        (Kind.DEGRADED, 1, "image_unreadable"),
        (Kind.FAILED, 2, "model_failed"),
    ):
        for reason in (None, code):
            page = listing.page(
                repairs, principal, id_, listing.wanted_page(kind, reason, None, 50)
            )
            assert [one.row for one in page.items] == [row]
            assert [(one.code, one.count) for one in page.reasons] == [(code, 1)]
        other = listing.wanted_page(kind, "other", None, 50)
        assert listing.page(repairs, principal, id_, other).items == []
