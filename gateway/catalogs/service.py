"""Submit, list, cancel and retry catalogs; `gateway.catalogs.feeder` turns their rows into jobs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, TextClause, func, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED, require_room
from gateway.catalogs.importing.partial_uploads import PartialUploads
from gateway.catalogs.repair import queued
from gateway.catalogs.upload import Upload, digest, fingerprint, require_usable
from gateway.identity.principal import Principal
from gateway.settings import CatalogSettings
from gateway.web.idempotency import require_same_content, run_once
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
from shared.errors import NotFound, RayonError, Unauthenticated
from shared.storage import Storage

log = structlog.get_logger(__name__)

#: Folder of all catalogs in the storage, and the names of a catalog's files in it.
CATALOGS = "catalogs"
PRODUCTS, IMAGES, ERRORS = "products", "images.zip", "errors.csv"
#: Header and first rows of a draft.
SAMPLE = "sample.json"
#: The table as plain text, if the uploaded file was packed.
PLAIN = "products.plain"


@dataclass(frozen=True)
class Catalogs:
    """Accept uploads and store them for the feeder."""

    unit_of_work: UnitOfWork
    storage: Storage
    settings: CatalogSettings
    uploads: Uploads = field(default_factory=Uploads)

    @property
    def parts(self) -> PartialUploads:
        """Files that arrive in pieces."""
        return PartialUploads(self.storage)

    def require_room(self, principal: Principal, size: int) -> None:
        """Check the limits on unfinished catalogs. Raises `Limited` or `Unavailable`."""
        with self.unit_of_work.reading() as session:
            require_room(session, self.settings, principal.id, size)

    def submit(
        self,
        principal: Principal,
        upload: Upload,
        *,
        version: str,
        idempotency_key: str | None,
        trace_id: str,
    ) -> Catalog:
        """Store a catalog; the feeder checks it and turns its rows into jobs.

        Args:
            principal: The owner.
            upload: The files.
            version: The release that answers the catalog's jobs.
            idempotency_key: A repeated request with the same key and content returns the same
                catalog.
            trace_id: ID that connects the log entries of this catalog in all services.

        Raises:
            InvalidInput: The file has none of the columns, or the model needs others.
            Conflict: The key was used with other content.
            Unavailable: The database or the storage does not answer; nothing was stored.
        """
        require_usable(upload, self.settings.max_bytes)
        catalog = Catalog(
            id=new_catalog_id(),
            user_id=principal.id,
            trace_id=trace_id,
            name=upload.name[:255],
            model=upload.model,
            release=version,
            dry_run=upload.dry_run,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint(upload),
            size=upload.size,
            archive_bytes=upload.size - upload.products_size,
            has_images=upload.images is not None and upload.model != "text",
            kept_until=kept_until(self.settings) if upload.is_draft else None,
            status=CatalogStatus.VALIDATING.value,
            created_at=now(),
            rows=0,
            rejected=0,
            fed=0,
            fed_until=0,
            report=_first_report(upload),
        )
        return run_once(partial(self._known, catalog), partial(self._keep, catalog, upload))

    def forget(self, catalog_id: str) -> None:
        """Remove a catalog's files, best effort: a failure only wastes disk space."""
        try:
            self.storage.remove_folder(folder_of(catalog_id))
        except RayonError as error:
            log.warning("catalog_files_not_removed", catalog=catalog_id, error=error.detail)

    def forget_archive(self, catalog_id: str) -> None:
        """Remove the archive of a cancelled catalog, best effort: retention repeats it."""
        try:
            self.storage.remove(f"{folder_of(catalog_id)}/{IMAGES}")
        except RayonError as error:
            log.warning("catalog_archive_not_removed", catalog=catalog_id, error=error.detail)

    def _keep(self, catalog: Catalog, upload: Upload) -> Catalog:
        try:
            self._store(catalog, upload)
            with self.unit_of_work() as work:
                if work.session.get(User, catalog.user_id) is None:
                    raise Unauthenticated("The account was deleted")
                work.session.add(catalog)
                work.announce_unfed(catalog.id)
        except BaseException:
            self.forget(catalog.id)
            raise
        log.info(
            "catalog_submitted", catalog=catalog.id, size=catalog.size, release=catalog.release
        )
        return catalog

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
        if found is not None:
            require_same_content(
                catalog.idempotency_key, kept=found.fingerprint, sent=catalog.fingerprint
            )
        return found


def _first_report(upload: Upload) -> dict[str, Any]:
    """Return what is kept of an upload until, and after, its check."""
    given = {"given": dict(upload.columns)} if upload.columns else {}
    # By which the archive is recognised if a cancelled catalog is resumed.
    archive = {"archive": digest(upload.images)} if upload.images is not None else {}
    # An alias is resolved again when a draft is started.
    release = {"release": upload.release} if upload.is_draft else {}
    return given | archive | release


def kept_until(settings: CatalogSettings) -> datetime:
    """Return the time until which the files of a draft are kept from now on."""
    return now() + timedelta(hours=settings.draft_hours)


def folder_of(catalog_id: str) -> str:
    """Return the storage folder of a catalog's files."""
    return f"{CATALOGS}/{catalog_id}"


def table_of(catalog_id: str, report: Mapping[str, Any]) -> str:
    """Return the storage address of a checked catalog's table, as plain text."""
    name = PLAIN if report.get("is_unpacked") else PRODUCTS
    return f"{folder_of(catalog_id)}/{name}"


def report_of(session: Session, catalog_id: str) -> dict[str, Any]:
    """Return the report of a catalog, which the feeder loads only where it needs it."""
    return session.scalar(select(Catalog.report).where(Catalog.id == catalog_id)) or {}


def is_checked(catalog: Catalog) -> bool:
    """Return True if the rows of a catalog were checked, so that it has a report."""
    return "columns" in catalog.report


def find(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Return a catalog. Raises `NotFound`, also if it belongs to another user."""
    catalog = session.get(Catalog, catalog_id)
    if catalog is None or (catalog.user_id != principal.id and not principal.is_admin):
        raise NotFound(f"No catalog {catalog_id!r}")
    return catalog


def ended(unit_of_work: UnitOfWork, ids: Collection[str]) -> set[str]:
    """Return those of some catalog IDs that are final or deleted."""
    with unit_of_work.reading() as session:
        unfinished = session.scalars(
            select(Catalog.id).where(Catalog.id.in_(ids), Catalog.status.in_(UNFINISHED))
        )
        return set(ids) - set(unfinished)


def page(
    session: Session,
    principal: Principal,
    cursor: str | None,
    limit: int,
    status: str | None = None,
    is_draft: bool | None = None,
) -> tuple[Sequence[Catalog], str | None]:
    """Return a page of the user's catalogs, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    query = select(Catalog).where(Catalog.user_id == principal.id)
    if status is not None:
        query = query.where(Catalog.status == status)
    if is_draft is not None:
        # A draft that is given up, or whose time is over, is an ordinary dry run.
        kept = func.coalesce(Catalog.kept_until > now(), False)
        query = query.where(kept if is_draft else ~kept)
    return paginate(session, query, Catalog.id, cursor, limit)


def cancel(session: Session, principal: Principal, catalog_id: str) -> Catalog:
    """Cancel a catalog and its queued jobs; a catalog that has ended is not changed.

    Raises:
        NotFound: The user has no such catalog.
    """
    find(session, principal, catalog_id)
    ended = session.execute(
        update(Catalog)
        .where(Catalog.id == catalog_id, Catalog.status.in_(UNFINISHED))
        .values(
            status=CatalogStatus.CANCELLED.value,
            finished_at=now(),
            retried_until=None,
            repaired_until=None,
            kept_until=None,
            leased_by=None,
            leased_until=None,
        )
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    ).all()
    if ended:
        queued.release(session, catalog_id)
        session.execute(
            update(Job)
            .where(Job.catalog_id == catalog_id, NOT_DONE, Job.status == JobStatus.QUEUED.value)
            .values(status=JobStatus.CANCELLED.value, finished_at=now(), image_bytes=None)
            .execution_options(synchronize_session=False)
        )
    session.expire_all()
    return find(session, principal, catalog_id)


def failed_rows(catalog_id: str) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Return the conditions that select a catalog's failed rows that can be retried."""
    return (
        Job.catalog_id == catalog_id,
        NOT_DONE,
        Job.status == JobStatus.FAILED.value,
        HAS_PRODUCT,
    )
