"""Works off the dataset versions that wait to be checked."""

import errno
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from shared.db.datasets import UPLOADS, upload_folder
from shared.db.leases import RowLeases
from shared.db.models import HAS_PRODUCT, DatasetStatus, DatasetVersion, Job, now
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.storage import Storage
from trainer.datasets.versions import Built, LabelledJob, Wanted, build

log = structlog.get_logger(__name__)

#: A check that died lets its version go after this long; a live one renews in time.
LEASE = timedelta(seconds=60)
#: The table has no column for the holder: a late check is refused once its version is READY.
LEASES = RowLeases(DatasetVersion.leased_until, LEASE)
RENEW_SECONDS = 10.0
#: A check that kills its process, or meets a storage that is down, is not tried for ever.
MAX_ATTEMPTS = 5
#: Files that were sent for a version that was never written down are removed after this long.
ORPHAN_SECONDS = 24 * 3600.0
#: Labelled jobs that are read at once.
SLICE = 500
NO_END = f"The check did not come to an end in {MAX_ATTEMPTS} attempts; memory may be short"


class Stopped(Exception):
    """The service ends; the version is checked after the next start."""


@dataclass(frozen=True)
class DatasetChecks:
    """Checks versions one at a time, oldest first.

    A message only says that there is something to do; so a lost one delays a check and no more.
    """

    unit_of_work: UnitOfWork
    storage: Storage
    work_folder: Path
    stopping: threading.Event = field(default_factory=threading.Event)

    def work_off(self) -> None:
        """Check what waits or was abandoned, until nothing is left.

        Raises:
            Unavailable: The database does not answer.
        """
        while not self.stopping.is_set() and (wanted := self._claim()) is not None:
            try:
                self._check(wanted)
            except Stopped:
                self._release(wanted)

    def tidy(self) -> None:
        """Remove what was sent for versions that nobody knows. Raises `Unavailable`."""
        for folder in self.storage.folders(UPLOADS):
            files = self.storage.files(folder)
            newest = max((file.modified for file in files), default=0.0)
            if time.time() - newest < ORPHAN_SECONDS:
                continue
            with self.unit_of_work.reading() as session:
                version = session.get(DatasetVersion, folder.rpartition("/")[2])
            if version is None or version.status != DatasetStatus.CHECKING.value:
                self.storage.remove_folder(folder)

    def _claim(self) -> Wanted | None:
        with self.unit_of_work() as work:
            query = (
                select(DatasetVersion)
                .where(DatasetVersion.status == DatasetStatus.CHECKING.value, LEASES.is_free())
                .order_by(DatasetVersion.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            version = work.session.scalar(query)
            if version is None:
                return None
            # The row is locked, so that nobody else can claim it in between.
            attempt = version.attempts + 1
            LEASES.claim(work.session, *_checking(version.id), attempts=attempt)
            return Wanted(
                id=version.id,
                name=version.name,
                version=version.version,
                base=version.asked["base"],
                files=version.asked["files"],
                remove=version.asked["remove"],
                jobs=LabelledJobs(self.unit_of_work) if version.asked["corrected"] else (),
                attempt=attempt,
            )

    def _check(self, wanted: Wanted) -> None:
        if wanted.attempt > MAX_ATTEMPTS:
            self._end(wanted, None, NO_END)
            return
        try:
            started = time.monotonic()
            built, message = self._outcome(wanted)
        except Unavailable as error:
            # Tried again when the lease has run out.
            self._note(wanted, error.detail)
            if wanted.attempt == MAX_ATTEMPTS:
                self._end(wanted, None, error.detail)
            return
        self._end(wanted, built, message)
        log.info(
            "dataset_checked",
            dataset=wanted.name,
            version=wanted.version,
            message=message,
            seconds=round(time.monotonic() - started, 2),
        )

    def _outcome(self, wanted: Wanted) -> tuple[Built | None, str | None]:
        try:
            built = self._build(wanted)
        except (Unavailable, Stopped):
            raise
        except RayonError as error:
            return None, error.detail
        except OSError as error:
            return None, _reason(error, self.work_folder)
        except Exception as error:
            log.exception("dataset_check_crashed", dataset=wanted.name, version=wanted.version)
            return None, f"{type(error).__name__}: {error}"
        return built, _sentence(built)

    def _build(self, wanted: Wanted) -> Built:
        self.work_folder.mkdir(parents=True, exist_ok=True)
        # What a killed check left behind is of no use.
        scratch = self.work_folder / f"dataset-{wanted.id}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            return build(self.storage, wanted, scratch, _Lease(self, wanted.id))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def renew(self, id_: str) -> None:
        """Keep a version for this trainer a while longer."""
        with self.unit_of_work() as work:
            LEASES.renew(work.session, *_checking(id_))

    def _release(self, wanted: Wanted) -> None:
        # Being told to stop is not the version's fault.
        with self.unit_of_work() as work:
            LEASES.release(work.session, *_checking(wanted.id), attempts=wanted.attempt - 1)

    def _note(self, wanted: Wanted, message: str) -> None:
        log.warning("dataset_check_deferred", dataset=wanted.name, error=message)
        with self.unit_of_work() as work:
            LEASES.change(work.session, *_checking(wanted.id), message=message)

    def _end(self, wanted: Wanted, built: Built | None, message: str | None) -> None:
        is_ready = built is not None and built.fingerprint is not None
        report = built.report if built else None
        with self.unit_of_work() as work:
            LEASES.release(
                work.session,
                *_checking(wanted.id),
                status=(DatasetStatus.READY if is_ready else DatasetStatus.FAILED).value,
                finished_at=now(),
                message=message,
                rows=report.rows if report else None,
                classes=report.classes if report else None,
                images=report.images if report else None,
                report=report.model_dump(mode="json") if report else None,
                fingerprint=built.fingerprint if built else None,
            )
        try:
            self.storage.remove_folder(upload_folder(wanted.id))
        except Unavailable as error:
            log.warning("upload_left_behind", id=wanted.id, error=error.detail)


@dataclass(frozen=True)
class LabelledJobs:
    """The jobs that people have labelled, in the order of their ids, read when they are needed.

    They are read a slice at a time, each in a transaction of its own that only reads: there may be
    a million of them, and images are copied meanwhile.
    """

    unit_of_work: UnitOfWork

    def __iter__(self) -> Iterator[LabelledJob]:
        """Read them anew. Raises `Unavailable`."""
        with self.unit_of_work.reading() as session:
            # Sorted here: asked to, SQLite reads all jobs in the order of their ids instead of
            # those that the index of labels has.
            ids = sorted(session.scalars(select(Job.id).where(Job.labelled_at.is_not(None))))
        for start in range(0, len(ids), SLICE):
            with self.unit_of_work.reading() as session:
                found = _labelled_jobs(session, ids[start : start + SLICE])
            yield from found


@dataclass
class _Lease:
    """Called at every image; renews now and then, and ends the check when the service ends."""

    checks: DatasetChecks
    id: str
    renewed: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        if self.checks.stopping.is_set():
            raise Stopped
        if time.monotonic() - self.renewed < RENEW_SECONDS:
            return
        self.renewed = time.monotonic()
        self.checks.renew(self.id)


def _checking(id_: str) -> tuple[ColumnElement[bool], ...]:
    # A version that is ready never changes, even if a check ends after its lease has expired.
    return DatasetVersion.id == id_, DatasetVersion.status == DatasetStatus.CHECKING.value


def _labelled_jobs(session: Session, ids: Sequence[str]) -> list[LabelledJob]:
    query = (
        select(Job.id, Job.designation, Job.description, Job.image_uri, Job.label)
        # Of an old job, which an earlier version has taken in, the product is no longer here.
        .where(Job.id.in_(ids), Job.label.is_not(None), HAS_PRODUCT)
        .order_by(Job.id)
    )
    return [
        LabelledJob(id_, title, text, uri, label)
        for id_, title, text, uri, label in session.execute(query)
        if label is not None
    ]


def _reason(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full, make room in {folder}"
    return f"{type(error).__name__}: {error}"


def _sentence(built: Built) -> str | None:
    return "; ".join(finding.message for finding in built.report.errors) or None
