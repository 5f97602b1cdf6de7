"""Deletion of expired data: texts, images and scores of jobs, catalog files, dead letters.

Files that nothing refers to (`gateway/operations/orphans.py`) are deleted too, whatever their age.
Jobs with trusted labels keep their data until a dataset version has imported them. An image that is
sent again gets a new modification time (`Storage.put`), so its age alone decides, and not the jobs
that share it. Rows are deleted in small batches with pauses, so that other writers do not wait
long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog
from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.service import CATALOGS
from gateway.jobs.submission import IMAGES
from gateway.operations.orphans import LOOP, Orphans
from gateway.operations.thumbnails import clean_thumbnails, remove_image
from gateway.settings import RetentionSettings
from shared.db.models import (
    HAS_PRODUCT,
    Catalog,
    CatalogRowRepair,
    DatasetStatus,
    DatasetVersion,
    DeadLetter,
    Explanation,
    Job,
    JobStatus,
    Review,
    Score,
    first_id_of,
    now,
)
from shared.db.session import UnitOfWork
from shared.lifecycle.label_trust import is_trusted_label
from shared.skipping import Removals, skipping
from shared.storage import FRESH_SECONDS, Storage

log = structlog.get_logger(__name__)

#: Import time of labels while no dataset version has imported any.
NEVER = datetime.min.replace(tzinfo=UTC)
#: Options of bulk statements: the session holds no objects to synchronise.
_BULK = {"synchronize_session": False}
#: Age after which a partially written file counts as abandoned.
ABANDONED = timedelta(days=1)
IS_FINAL = Job.status != JobStatus.QUEUED.value


@dataclass
class Retention:
    """Deletes data older than the settings allow.

    Attributes:
        stopping: Set when the service stops. A run ends after its current batch.
    """

    unit_of_work: UnitOfWork
    storage: Storage
    settings: RetentionSettings
    stopping: Event = field(default_factory=Event)
    #: Highest job ID that this process has cleaned. The rows of earlier jobs stay and are skipped.
    _seen_until: str = ""

    def clean(self) -> None:
        """Delete everything that has expired.

        Raises:
            Unavailable: The database or the storage does not answer. The next run deletes the rest.
        """
        removed = {}
        if days := self.settings.job_days:
            before = now() - timedelta(days=days)
            removed["jobs"] = self._clean_jobs(before)
            removed["catalogs"] = self._clean_catalogs(before)
            removed["dead_letters"] = self._clean_dead_letters(before)
        if days := self._image_days:
            # An image may have been reused without being stored again.
            removed["images"] = self._clean_images(
                now() - timedelta(days=days, seconds=FRESH_SECONDS)
            )
        removed["abandoned"] = self.storage.remove_abandoned(now() - ABANDONED)
        removed |= Orphans(self.unit_of_work, self.storage, self.stopping).clean()
        removed["thumbnails"] = clean_thumbnails(
            self.storage, IMAGES, Removals(LOOP), self.stopping
        )
        if any(removed.values()):
            log.info("retention_cleaned", **removed)

    @property
    def _image_days(self) -> int:
        given = (self.settings.job_days, self.settings.image_days)
        return min((days for days in given if days), default=0)

    def _clean_jobs(self, before: datetime) -> int:
        with self.unit_of_work.reading() as session:
            imported_until = _labels_imported_until(session)
        count = 0
        for condition, seen_until in (
            # Untrusted labels are not imported, so a client cannot keep its data by labelling it.
            (~is_trusted_label(), self._seen_until),
            # Jobs may be labelled long after the first run that cleaned them.
            (Job.labelled_at < imported_until, ""),
        ):
            for ids in self._old(before, condition, seen_until):
                count += self._clear(ids)
        self._seen_until = max(self._seen_until, first_id_of(before))
        return count

    def _old(
        self, before: datetime, condition: ColumnElement[bool], seen_until: str
    ) -> Iterator[Sequence[str]]:
        """Yield batches of IDs of expired final jobs with data left to delete."""
        query = select(Job.id).where(IS_FINAL, condition, Job.id < first_id_of(before))
        if self.settings.keep_results:
            query = query.where(HAS_PRODUCT)
        last = seen_until
        while not self.stopping.is_set():
            with self.unit_of_work.reading() as session:
                page = query.where(Job.id > last).order_by(Job.id).limit(self.settings.batch)
                ids = session.scalars(page).all()
            if not ids:
                return
            yield ids
            last = ids[-1]
            self.stopping.wait(self.settings.pause_seconds)

    def _clear(self, ids: Sequence[str]) -> int:
        # A row of a catalog may have been retried since it was selected.
        which = Job.id.in_(ids), IS_FINAL
        with self.unit_of_work() as work:
            final = work.session.scalars(select(Job.id).where(*which).with_for_update()).all()
            if self.settings.keep_results:
                _clear_products(work.session, final)
            else:
                work.session.execute(delete(Job).where(Job.id.in_(final)), execution_options=_BULK)
        return len(final)

    def _clean_catalogs(self, before: datetime) -> int:
        """Delete the files of expired catalogs and of catalogs without a row."""
        first = first_id_of(before)
        folders = {uri.rpartition("/")[2]: uri for uri in self.storage.folders(CATALOGS)}
        old = [id_ for id_ in folders if id_ < first]
        with self.unit_of_work.reading() as session:
            unfinished = set(
                session.scalars(select(Catalog.id).where(Catalog.status.in_(UNFINISHED)))
            )
        removals, count = Removals(LOOP), 0
        for id_ in old:
            if id_ in unfinished or self.stopping.is_set():
                continue
            with removals.skipping(id_):
                self.storage.remove_folder(folders[id_])
                self._record_deleted_files(id_)
                count += 1
        if not self.settings.keep_results:
            self._delete_empty_catalogs(first)
        return count

    def _record_deleted_files(self, catalog_id: str) -> None:
        with self.unit_of_work() as work:
            work.session.execute(
                update(Catalog).where(Catalog.id == catalog_id).values(size=0, archive_bytes=None),
                execution_options=_BULK,
            )
            # Repairs contain texts of the products.
            repairs = delete(CatalogRowRepair).where(CatalogRowRepair.catalog_id == catalog_id)
            work.session.execute(repairs, execution_options=_BULK)

    def _delete_empty_catalogs(self, first: str) -> None:
        has_jobs = exists().where(Job.catalog_id == Catalog.id)
        with self.unit_of_work() as work:
            work.session.execute(
                delete(Catalog).where(
                    Catalog.id < first, Catalog.status.not_in(UNFINISHED), ~has_jobs
                ),
                execution_options=_BULK,
            )

    def _clean_dead_letters(self, before: datetime) -> int:
        with self.unit_of_work() as work:
            old = delete(DeadLetter).where(DeadLetter.parked_at < before)
            return len(work.session.scalars(old.returning(DeadLetter.id)).all())

    def _clean_images(self, before: datetime) -> int:
        with self.unit_of_work.reading() as session:
            kept = _images_needed(session)
        removals, count = Removals(LOOP), 0
        for folder in self.storage.folders(IMAGES):
            for file in self.storage.files(folder):
                if self.stopping.is_set():
                    return count
                with removals.skipping(file.uri):
                    if file.modified < before.timestamp() and file.uri not in kept:
                        count += remove_image(self.storage, file.uri, before)
        return count


def _clear_products(session: Session, ids: Sequence[str]) -> None:
    """Clear the products of jobs, keeping their answers and labels."""
    for kind in (Score, Explanation):
        session.execute(delete(kind).where(kind.job_id.in_(ids)), execution_options=_BULK)
    unlabelled = select(Job.id).where(Job.id.in_(ids), ~is_trusted_label())
    # Reviews of deleted products cannot be answered.
    session.execute(delete(Review).where(Review.job_id.in_(unlabelled)), execution_options=_BULK)
    session.execute(
        update(Job)
        .where(Job.id.in_(ids))
        .values(designation="", description="", image_uri=None, image_bytes=None),
        execution_options=_BULK,
    )


def _labels_imported_until(session: Session) -> datetime:
    """Return the time up to which labels are part of a dataset version."""
    versions = session.execute(
        select(DatasetVersion.created_at, DatasetVersion.asked).where(
            DatasetVersion.status == DatasetStatus.READY.value
        )
    )
    imported = [NEVER]
    for at, asked in versions:
        with skipping(LOOP, f"dataset version of {at}"):
            imported += [at] if asked.get("corrected") else []
    return max(imported)


def _images_needed(session: Session) -> set[str]:
    """Return the images of unfinished jobs and of trusted labels not yet in a dataset."""
    query = select(Job.image_uri).where(
        Job.image_uri.is_not(None),
        or_(
            Job.status == JobStatus.QUEUED.value,
            is_trusted_label() & (Job.labelled_at >= _labels_imported_until(session)),
        ),
    )
    return {uri for uri in session.scalars(query) if uri is not None}
