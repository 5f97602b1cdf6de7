"""Deletion of files that nothing refers to, of cancelled jobs and deleted accounts for example.

An image is stored once under the digest of its content, however many jobs and users sent it, so it
is deleted only if no job refers to it any more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.importing.drafts import expired_drafts, give_up
from gateway.catalogs.importing.partial_uploads import PartialUploads
from gateway.catalogs.service import CATALOGS, folder_of
from gateway.catalogs.service import IMAGES as ARCHIVE
from gateway.jobs.submission import IMAGES
from gateway.operations.thumbnails import remove_image
from shared.db.datasets import UPLOADS
from shared.db.models import (
    Catalog,
    CatalogRowRepair,
    DatasetStatus,
    DatasetVersion,
    Job,
    JobStatus,
    User,
    first_id_of,
    now,
)
from shared.db.session import UnitOfWork
from shared.skipping import Removals
from shared.storage import FRESH_SECONDS, Storage, StoredFile

#: Loop of which the deletion is a part, in logs and metrics.
LOOP = "retention"
#: Age from which an image without a job is deleted. A younger one may belong to a job that is being
#: submitted: its file is not written again within `FRESH_SECONDS`, and a feeder uses the address of
#: an image for another hour.
UNUSED = timedelta(seconds=FRESH_SECONDS, hours=2)
#: Age from which a folder without a row is deleted; a younger one may be an upload in progress.
ABANDONED = timedelta(days=1)
#: Images whose jobs are searched with one query, and the pause after it, in seconds.
BATCH = 500
PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Orphans:
    """Deletes files without a row, in small batches with pauses.

    Attributes:
        stopping: Set when the service stops. A run ends after its current batch.
    """

    unit_of_work: UnitOfWork
    storage: Storage
    stopping: Event

    def clean(self) -> dict[str, int]:
        """Delete what nothing refers to, and return the numbers by kind.

        Raises:
            Unavailable: The database or the storage does not answer. The next run deletes the rest.
        """
        moment, removals = now(), Removals(LOOP)
        self._end_drafts(removals)
        self._clean_archives(moment - ABANDONED, removals)
        return {
            "unused_images": self._clean_images(moment - UNUSED, removals),
            "unused_catalogs": self._clean_folders(CATALOGS, moment - ABANDONED, removals),
            "unused_parts": self._clean_parts(removals),
            "unused_uploads": self._clean_folders(UPLOADS, moment - ABANDONED, removals),
        }

    def _clean_images(self, before: datetime, removals: Removals) -> int:
        with self.unit_of_work.reading() as session:
            begin = session.scalar(select(func.min(User.created_at)))
        if begin is None:
            return 0
        count = 0
        for files in self._old_images(begin, before):
            with self.unit_of_work.reading() as session:
                needed = _needed(session, [file.uri for file in files])
            for uri in (file.uri for file in files if file.uri not in needed):
                with removals.skipping(uri):
                    count += remove_image(self.storage, uri, before)
            self.stopping.wait(PAUSE_SECONDS)
        return count

    def _old_images(self, begin: datetime, before: datetime) -> Iterator[Sequence[StoredFile]]:
        """Yield batches of the images stored in a period.

        Images from before the first account belong to another database, such as one whose address
        is set wrongly now; they are kept.
        """
        for folder in self.storage.folders(IMAGES):
            old = [
                file
                for file in self.storage.files(folder)
                if begin.timestamp() < file.modified < before.timestamp()
            ]
            for first in range(0, len(old), BATCH):
                if self.stopping.is_set():
                    return
                yield old[first : first + BATCH]

    def _clean_folders(self, parent: str, before: datetime, removals: Removals) -> int:
        """Delete the folders of catalogs, or of uploads of datasets, without a row."""
        with self.unit_of_work.reading() as session:
            first = session.scalar(select(func.min(User.id)))
        ids = {uri.rpartition("/")[2]: uri for uri in self.storage.folders(parent)}
        old = sorted(id_ for id_ in ids if (first or "") < id_ < first_id_of(before))
        count = 0
        for start in range(0, len(old) if first else 0, BATCH):
            batch = old[start : start + BATCH]
            with self.unit_of_work.reading() as session:
                there = _folders_needed(session, parent, batch)
            for id_ in batch:
                if id_ in there or self.stopping.is_set():
                    continue
                with removals.skipping(ids[id_]):
                    self.storage.remove_folder(ids[id_])
                    count += 1
        return count

    def _clean_parts(self, removals: Removals) -> int:
        """Delete files that arrived in pieces and that no catalog has used in time."""
        count = 0
        for folder in PartialUploads(self.storage).expired():
            with removals.skipping(folder):
                self.storage.remove_folder(folder)
                count += 1
        return count

    def _end_drafts(self, removals: Removals) -> None:
        """Delete the archives of expired drafts; their tables stay as of any catalog."""
        with self.unit_of_work.reading() as session:
            ids = session.scalars(select(Catalog.id).where(expired_drafts())).all()
        for id_ in ids:
            with removals.skipping(f"draft {id_}"):
                # First the row: nobody can start it any more while its archive is deleted.
                with self.unit_of_work() as work:
                    give_up(work.session, id_)
                self.storage.remove(f"{folder_of(id_)}/{ARCHIVE}")

    def _clean_archives(self, since: datetime, removals: Removals) -> None:
        """Delete archives of catalogs that ended lately, which were to be deleted at their end."""
        query = select(Catalog.id).where(
            Catalog.status.not_in(UNFINISHED),
            Catalog.has_images,
            Catalog.finished_at > since,
            Catalog.kept_until.is_(None),
        )
        with self.unit_of_work.reading() as session:
            ids = session.scalars(query).all()
        for id_ in ids:
            with removals.skipping(f"archive of catalog {id_}"):
                self.storage.remove(f"{folder_of(id_)}/{ARCHIVE}")


def _needed(session: Session, uris: Sequence[str]) -> set[str]:
    """Return those of some images that a repair or a job needs.

    A cancelled job without a label needs none.
    """
    is_needed = or_(Job.status != JobStatus.CANCELLED.value, Job.label.is_not(None))
    of_jobs = select(Job.image_uri).where(Job.image_uri.in_(uris), is_needed)
    of_repairs = select(CatalogRowRepair.image_uri).where(CatalogRowRepair.image_uri.in_(uris))
    found = (uri for query in (of_jobs, of_repairs) for uri in session.scalars(query))
    return {uri for uri in found if uri is not None}


def _folders_needed(session: Session, parent: str, ids: Sequence[str]) -> set[str]:
    if parent == CATALOGS:
        return set(session.scalars(select(Catalog.id).where(Catalog.id.in_(ids))))
    checking = DatasetVersion.status == DatasetStatus.CHECKING.value
    query = select(DatasetVersion.id).where(DatasetVersion.id.in_(ids), checking)
    return set(session.scalars(query))
