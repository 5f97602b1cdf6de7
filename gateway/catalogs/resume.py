"""Resume a cancelled catalog, or retry the failed rows of a finished one; its answers stay.

After a cancel the feeder goes back to the first row without an answer and reads on from there. Rows
that have a job are left out, unless it was cancelled (`gateway.catalogs.slices`).
"""

from typing import BinaryIO

import structlog
from sqlalchemy import ColumnElement, TextClause, exists, func, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import require_room
from gateway.catalogs.counting import counts
from gateway.catalogs.repair.running import queue_cancelled
from gateway.catalogs.service import IMAGES, Catalogs, failed_rows, find, folder_of, is_checked
from gateway.catalogs.upload import digest
from gateway.identity.principal import Principal
from shared.db.models import NOT_DONE, Catalog, CatalogStatus, Job, JobStatus, row_of_job
from shared.errors import Conflict, InvalidInput

log = structlog.get_logger(__name__)

#: Advice in the error of a catalog that cannot be resumed.
OTHERS = {
    CatalogStatus.VALIDATING.value: "It still runs",
    CatalogStatus.RUNNING.value: "It still runs",
    CatalogStatus.FINISHED.value: "Its failed rows can be retried",
    CatalogStatus.FAILED.value: "Send it as a new catalog",
}


def resume(
    catalogs: Catalogs, principal: Principal, catalog_id: str, images: BinaryIO | None
) -> None:
    """Run the rows of a cancelled catalog that have no answer.

    Args:
        catalogs: The catalogs and their files.
        principal: The owner, or an admin.
        catalog_id: The catalog.
        images: Its archive, which the cancel deleted, if it had one.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: The catalog is not cancelled, or has no row or file left to resume.
        InvalidInput: The archive is missing, or is not the one that was sent first.
        Limited: The user has too many unfinished catalogs.
        Unavailable: The database or the storage does not answer.
    """
    with catalogs.unit_of_work.reading() as session:
        catalog = find(session, principal, catalog_id)
        _require_resumable(session, catalog)
        require_room(session, catalogs.settings, catalog.user_id, catalog.size)
    _require_archive(catalog, images)
    if images is not None:
        images.seek(0)
        catalogs.storage.put_stream(f"{folder_of(catalog_id)}/{IMAGES}", images)
    with catalogs.unit_of_work() as work:
        _set_running(work.session, catalog)
        work.announce_unfed(catalog_id)
    log.info("catalog_resumed", catalog=catalog_id)


def retry(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Queue the failed rows of a finished catalog again.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: The catalog is not finished, no row failed, or the failed products are deleted.
    """
    catalog = find(session, principal, catalog_id)
    if catalog.status != CatalogStatus.FINISHED.value:
        raise Conflict(f"Expected a finished catalog. Received: one that is {catalog.status}")
    if not counts(session, [catalog])[catalog_id].failed:
        raise Conflict("No row of this catalog failed")
    if not session.scalar(select(exists().where(*failed_rows(catalog_id)))):
        raise Conflict("The products of the failed rows have been deleted")
    session.execute(
        update(Catalog)
        .where(Catalog.id == catalog_id, Catalog.status == CatalogStatus.FINISHED.value)
        .values(
            status=CatalogStatus.RUNNING.value,
            retried_until=0,
            finished_at=None,
            rows_per_second=None,
        )
        .execution_options(synchronize_session=False)
    )
    session.expire_all()
    return find(session, principal, catalog_id)


def _require_resumable(session: Session, catalog: Catalog) -> None:
    if catalog.status != CatalogStatus.CANCELLED.value:
        raise Conflict(
            f"Expected a cancelled catalog. Received: one that is {catalog.status}. "
            f"{OTHERS[catalog.status]}"
        )
    if catalog.size == 0:
        raise Conflict("The file of this catalog has been deleted. Send it as a new catalog")
    if is_checked(catalog) and not counts(session, [catalog])[catalog.id].cancelled:
        raise Conflict("No row of this catalog was cancelled")


def _require_archive(catalog: Catalog, images: BinaryIO | None) -> None:
    """Check that the archive was sent again, if the catalog had one."""
    if not catalog.has_images:
        if images is not None:
            raise InvalidInput(
                "Expected no archive, since the catalog has no images. Received: a file",
                field=("images",),
            )
        return
    if images is None:
        raise InvalidInput(
            "Expected the image archive again, which was deleted when the catalog was cancelled. "
            "Received: none",
            field=("images",),
        )
    first = catalog.report.get("archive")
    if first is None:
        raise Conflict("The catalog is of an earlier version. Send it as a new catalog")
    # The check of the rows, which is not repeated, depends on the archive.
    if digest(images) != first:
        raise InvalidInput(
            "Expected the archive that was sent first. Received: another file. Send the products "
            "as a new catalog to use it",
            field=("images",),
        )


def _set_running(session: Session, catalog: Catalog) -> None:
    status = CatalogStatus.RUNNING if is_checked(catalog) else CatalogStatus.VALIDATING
    first = session.scalar(select(func.min(Job.id)).where(*_cancelled_jobs(catalog.id)))
    rows_before = catalog.fed_until if first is None else row_of_job(first) - 1
    has_repairs = queue_cancelled(session, catalog.id)
    changed = session.execute(
        update(Catalog)
        .where(Catalog.id == catalog.id, Catalog.status == CatalogStatus.CANCELLED.value)
        .values(
            status=status.value,
            fed_until=min(rows_before, catalog.fed_until),
            finished_at=None,
            rows_per_second=None,
            repaired_until=0 if has_repairs else None,
        )
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    ).all()
    if not changed:
        raise Conflict("The catalog was resumed by another request")


def _cancelled_jobs(catalog_id: str) -> tuple[ColumnElement[bool] | TextClause, ...]:
    return Job.catalog_id == catalog_id, NOT_DONE, Job.status == JobStatus.CANCELLED.value
