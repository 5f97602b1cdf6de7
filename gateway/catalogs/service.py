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

from gateway.catalogs.product_file import form_of
from gateway.identity.principal import Principal
from gateway.jobs.schemas import ModelName
from gateway.settings import CatalogSettings
from gateway.web.paging import cursor_after, read_cursor
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
#: What a client is told to wait while nothing has been measured.
UNKNOWN_WAIT_SECONDS = 60
LONGEST_WAIT_SECONDS = 3600


@dataclass(frozen=True)
class Upload:
    """What a client sent, open and at its beginning."""

    name: str
    products: BinaryIO
    images: BinaryIO | None
    model: ModelName
    release: str
    dry_run: bool


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
        """Check what is unfinished before gigabytes are read.

        Args:
            principal: Whose catalog is to come.
            size: Bytes that the request announces; 0 if it does not.

        Raises:
            Limited: This user's catalogs have reached a limit.
            Unavailable: All users' catalogs together have, or the disk is almost full.
        """
        with self.unit_of_work.reading() as session:
            mine = _load_of(session, Catalog.user_id == principal.id)
            all_rows = _load_of(session).rows
        limits = self.settings
        for used, limit, what in (
            (mine.catalogs + 1, limits.max_unfinished, "unfinished catalogs"),
            (mine.rows, limits.max_unfinished_rows, "unfinished rows"),
            (mine.size + size, limits.max_unfinished_bytes, "bytes of unfinished catalogs"),
        ):
            if used > limit:
                raise Limited(
                    f"Expected at most {limit} {what} at once. Received: {used}",
                    retry_after_seconds=mine.wait_seconds,
                )
        if all_rows > limits.max_unfinished_rows_of_all:
            raise Unavailable(
                f"{all_rows} rows wait already; that is all this system takes at once",
                retry_after_seconds=mine.wait_seconds,
            )
        free = self.storage.free_bytes()
        if free is not None and free - size < limits.min_free_bytes:
            raise Unavailable(
                "The storage is almost full", retry_after_seconds=UNKNOWN_WAIT_SECONDS
            )

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
    if cursor is not None:
        query = query.where(Catalog.id < read_cursor(cursor))
    found = session.scalars(query.order_by(Catalog.id.desc()).limit(limit + 1)).all()
    more = len(found) > limit
    return found[:limit], cursor_after(found[limit - 1].id) if more else None


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


@dataclass(frozen=True)
class _Load:
    """What is unfinished.

    Attributes:
        wait_seconds: Until the first of the catalogs is likely to end.
    """

    catalogs: int
    rows: int
    size: int
    wait_seconds: int


def _load_of(session: Session, *conditions: ColumnElement[bool]) -> _Load:
    # Not the reports: they may be long, and this is asked at each upload.
    query = select(
        Catalog.id,
        Catalog.rows,
        Catalog.rejected,
        Catalog.fed,
        Catalog.size,
        Catalog.rows_per_second,
    ).where(Catalog.status.in_(UNFINISHED), *conditions)
    found = session.execute(query).all()
    left = {one.id: max(0, one.rows - one.rejected - one.fed) for one in found}
    waits = [left[one.id] / one.rows_per_second for one in found if one.rows_per_second]
    seconds = math.ceil(min(waits, default=UNKNOWN_WAIT_SECONDS))
    return _Load(
        catalogs=len(found),
        rows=sum(left.values()),
        size=sum(one.size for one in found),
        wait_seconds=min(max(1, seconds), LONGEST_WAIT_SECONDS),
    )


def _require_usable(upload: Upload) -> None:
    form = form_of(upload.products)
    if upload.model == "image" and upload.images is None:
        raise InvalidInput("`model=image` needs a ZIP archive. Received: none", field=("images",))
    if upload.model == "image" and not form.names_images:
        raise InvalidInput(
            "`model=image` needs a column `image`, or `imageid` and `productid`. "
            f"Received the columns: {', '.join(form.columns)[:300]}",
            field=("products",),
        )
    if upload.images is not None and not _is_zip(upload.images):
        raise InvalidInput("Expected a ZIP archive. Received: another file", field=("images",))


def _is_zip(file: BinaryIO) -> bool:
    # Only its end is looked at; the feeder reads the list of entries, which may be long.
    file.seek(0)
    return zipfile.is_zipfile(file)


def _fingerprint(upload: Upload) -> str:
    content = hashlib.sha256()
    asked = (upload.model, upload.release, str(upload.dry_run))
    for one in asked:
        content.update(len(one).to_bytes(8, "big") + one.encode())
    for file in (upload.products, upload.images):
        content.update((_size(file) if file else 0).to_bytes(8, "big"))
        if file is not None:
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                content.update(piece)
    return content.hexdigest()


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)
