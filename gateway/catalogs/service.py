"""Catalogs: submit, follow, cancel and retry; `gateway.catalogs.feeder` turns rows into jobs."""

import hashlib
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import structlog
from sqlalchemy import ColumnElement, TextClause, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.catalogs.tables.table_format import form_of
from gateway.identity.principal import Principal
from gateway.jobs.schemas import ModelName
from gateway.settings import CatalogSettings
from gateway.web.paging import paginate
from gateway.web.uploads import Uploads
from shared.db.models import (
    HAS_PRODUCT,
    NOT_DONE,
    Catalog,
    CatalogStatus,
    Job,
    JobStatus,
    User,
    new_catalog_id,
    now,
)
from shared.db.session import UnitOfWork
from shared.errors import (
    Conflict,
    InvalidInput,
    Limited,
    NotFound,
    RayonError,
    Unauthenticated,
    Unavailable,
)
from shared.storage import PIECE_BYTES, Storage

log = structlog.get_logger(__name__)

UNFINISHED = (CatalogStatus.VALIDATING.value, CatalogStatus.RUNNING.value)
#: Folder of all catalogs in the storage, and the names of the files of one.
CATALOGS = "catalogs"
PRODUCTS, IMAGES, ERRORS = "products", "images.zip", "errors.csv"


@dataclass(frozen=True)
class Counts:
    """Rows of a catalog by what became of them; `queued` are those without an answer yet."""

    rows: int
    rejected: int
    queued: int
    done: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class Catalogs:
    """Takes catalogs in."""

    unit_of_work: UnitOfWork
    storage: Storage
    settings: CatalogSettings
    uploads: Uploads = field(default_factory=Uploads)

    def require_room(self, principal: Principal, size: int) -> None:
        """Check the limits on unfinished catalogs before gigabytes are read.

        Args:
            principal: The user who uploads.
            size: Announced size of the request in bytes; 0 if unknown.

        Raises:
            Limited: The user's catalogs have reached a limit.
            Unavailable: The catalogs of all users have reached a limit, or the disk is almost full.
        """
        with self.unit_of_work.reading() as session:
            require_room(session, self.storage, self.settings, principal.id, size)

    def submit(
        self,
        principal: Principal,
        upload: Upload,
        *,
        version: str,
        idempotency_key: str | None,
        trace_id: str,
    ) -> Catalog:
        """Keep a catalog; the feeder checks it and turns its rows into jobs.

        Args:
            principal: Whose catalog it is.
            upload: The files.
            version: The release that answers.
            idempotency_key: The same key with the same content gives the same catalog.
            trace_id: What the logs of this catalog's way have in common.

        Raises:
            InvalidInput: The file has none of the columns, or what was asked for needs others.
            Conflict: The key was used for other content.
            Unavailable: Database or storage do not answer; nothing was kept.
        """
        _require_usable(upload)
        catalog = Catalog(
            id=new_catalog_id(),
            user_id=principal.id,
            trace_id=trace_id,
            name=upload.name[:255],
            model=upload.model,
            release=version,
            dry_run=upload.dry_run,
            idempotency_key=idempotency_key,
            fingerprint=_fingerprint(upload),
            size=_size(upload.products) + (_size(upload.images) if upload.images else 0),
            has_images=upload.images is not None and upload.model != "text",
            status=CatalogStatus.VALIDATING.value,
            created_at=now(),
            rows=0,
            rejected=0,
            fed=0,
            fed_until=0,
            report={},
        )
        known = self._known(catalog)
        if known is not None:
            return known
        try:
            self._store(catalog, upload)
            with self.unit_of_work() as work:
                if work.session.get(User, principal.id) is None:
                    raise Unauthenticated("The account was deleted")
                work.session.add(catalog)
        except IntegrityError:
            # The same request at the same moment was first; its catalog is the answer.
            self.forget(catalog.id)
            known = self._known(catalog)
            if known is None:
                raise
            return known
        except BaseException:
            self.forget(catalog.id)
            raise
        log.info("catalog_taken", catalog=catalog.id, size=catalog.size, release=version)
        return catalog

    def forget(self, catalog_id: str) -> None:
        """Remove a catalog's files; what is left is only space."""
        try:
            self.storage.remove_folder(folder_of(catalog_id))
        except RayonError as error:
            log.warning("catalog_left_behind", catalog=catalog_id, error=error.detail)

    def _store(self, catalog: Catalog, upload: Upload) -> None:
        folder = folder_of(catalog.id)
        upload.products.seek(0)
        self.storage.put_stream(f"{folder}/{PRODUCTS}", upload.products)
        if catalog.has_images and upload.images is not None:
            upload.images.seek(0)
            self.storage.put_stream(f"{folder}/{IMAGES}", upload.images)

    def _known(self, catalog: Catalog) -> Catalog | None:
        if catalog.idempotency_key is None:
            return None
        with self.unit_of_work.reading() as session:
            found = session.scalar(
                select(Catalog).where(
                    Catalog.user_id == catalog.user_id,
                    Catalog.idempotency_key == catalog.idempotency_key,
                )
            )
        if found is not None and found.fingerprint != catalog.fingerprint:
            raise Conflict(
                f"The Idempotency-Key {catalog.idempotency_key!r} was used with other content"
            )
        return found


def folder_of(catalog_id: str) -> str:
    """Address of a catalog's files."""
    return f"{CATALOGS}/{catalog_id}"


def find(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Look a catalog up. Raises `NotFound`, also for a catalog of somebody else."""
    catalog = session.get(Catalog, catalog_id)
    if catalog is None or (catalog.user_id != principal.id and not principal.is_admin):
        raise NotFound(f"No catalog {catalog_id!r}")
    return catalog


def page(
    session: Session, principal: Principal, cursor: str | None, limit: int
) -> tuple[Sequence[Catalog], str | None]:
    """One's own catalogs, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor is not one that a page gave.
    """
    query = select(Catalog).where(Catalog.user_id == principal.id)
    return paginate(session, query, Catalog.id, cursor, limit)


def cancel(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Cancel a catalog and what of it is at work; one that is final stays as it is.

    Raises:
        NotFound: No such catalog of this user.
    """
    find(session, principal, catalog_id)
    ended = session.execute(
        update(Catalog)
        .where(Catalog.id == catalog_id, Catalog.status.in_(UNFINISHED))
        .values(
            status=CatalogStatus.CANCELLED.value,
            finished_at=now(),
            retried_until=None,
            leased_by=None,
            leased_until=None,
        )
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    ).all()
    if ended:
        session.execute(
            update(Job)
            .where(Job.catalog_id == catalog_id, NOT_DONE, Job.status == JobStatus.QUEUED.value)
            .values(status=JobStatus.CANCELLED.value, finished_at=now())
            .execution_options(synchronize_session=False)
        )
    session.expire_all()
    return find(session, principal, catalog_id)


def retry(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Run the failed rows of a finished catalog again.

    Raises:
        NotFound: No such catalog of this user.
        Conflict: It is not finished, or no row failed.
    """
    catalog = find(session, principal, catalog_id)
    if catalog.status != CatalogStatus.FINISHED.value:
        raise Conflict(f"Only a finished catalog runs again; this one is {catalog.status}")
    if not counts(session, [catalog])[catalog_id].failed:
        raise Conflict("No row of this catalog failed")
    if not session.scalar(select(exists().where(*failed_rows(catalog_id)))):
        raise Conflict("The products of the rows that failed are no longer kept")
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


def failed_rows(catalog_id: str) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """The condition of a catalog's rows that can run again."""
    return (
        Job.catalog_id == catalog_id,
        NOT_DONE,
        Job.status == JobStatus.FAILED.value,
        HAS_PRODUCT,
    )


def counts(session: Session, catalogs: Sequence[Catalog]) -> dict[str, Counts]:
    """Count the rows of catalogs; costs as much as rows are not done."""
    found: dict[tuple[str, str], int] = {}
    query = (
        select(Job.catalog_id, Job.status, func.count())
        .where(
            Job.catalog_id.in_([one.id for one in catalogs]),
            NOT_DONE,
        )
        .group_by(Job.catalog_id, Job.status)
    )
    for catalog_id, status, count in session.execute(query):
        found[(str(catalog_id), status)] = count
    return {one.id: _counts(one, found) for one in catalogs}


def eta_seconds(catalog: Catalog, counted: Counts) -> float | None:
    """Seconds until the last answer at the present rate; `None` while that is not known."""
    if catalog.status != CatalogStatus.RUNNING.value or not catalog.rows_per_second:
        return None
    return counted.queued / catalog.rows_per_second


def _counts(catalog: Catalog, found: Mapping[tuple[str, str], int]) -> Counts:
    queued, failed, cancelled = (
        found.get((catalog.id, status.value), 0)
        for status in (JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED)
    )
    done = max(0, catalog.fed - queued - failed - cancelled)
    waiting = 0 if catalog.dry_run else max(0, catalog.rows - catalog.rejected - catalog.fed)
    is_open = catalog.status in UNFINISHED
    return Counts(
        rows=catalog.rows,
        rejected=catalog.rejected,
        queued=queued + (waiting if is_open else 0),
        done=done,
        failed=failed,
        cancelled=cancelled + (0 if is_open else waiting),
    )
