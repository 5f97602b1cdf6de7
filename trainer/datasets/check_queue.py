"""Works through the queue of dataset versions to be checked."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from shared.db.datasets import UPLOADS, upload_folder
from shared.db.leases import RowLeases
from shared.db.models import HAS_PRODUCT, DatasetStatus, DatasetVersion, Job, Review, now
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.files import is_disk_full
from shared.lifecycle.label_trust import is_trusted_label
from shared.progress import PROGRESS
from shared.skipping import skipping
from shared.storage import Storage
from trainer.datasets.labelled.authors import LabelLimits, authors_of_jobs, trusted_authors
from trainer.datasets.labelled.drawn_answers import labelled_chance, labelled_shares
from trainer.datasets.version_request import LabelledJob, VersionRequest

if TYPE_CHECKING:
    from trainer.datasets.builder import BuiltVersion

log = structlog.get_logger(__name__)

#: Loop that checks datasets, in the heartbeat.
CHECKS_LOOP = "dataset_checks"
#: A dead check loses its version after this time; a live one renews the lease earlier.
LEASE = timedelta(seconds=60)
#: The table has no owner column. A check that ends after its lease has expired cannot change a
#: version that another check has finished.
LEASES = RowLeases(DatasetVersion.leased_until, LEASE)
RENEW_SECONDS = 10.0
#: Limit for checks that kill their process. One that finds the storage down or the disk full waits.
MAX_ATTEMPTS = 5
#: Uploads that no version waits for are removed after this time.
ORPHAN_SECONDS = 24 * 3600.0
#: Labelled jobs read per transaction.
SLICE = 500
GIVEN_UP = (
    f"The check did not finish in {MAX_ATTEMPTS} attempts; the machine may be short of memory"
)


class Stopped(Exception):
    """The service is shutting down; the version is checked after the next start."""


@dataclass(frozen=True)
class DatasetChecks:
    """Checks versions one at a time, oldest first.

    A message is only a wake-up signal, so a lost one merely delays a check.
    """

    unit_of_work: UnitOfWork
    storage: Storage
    work_folder: Path
    stopping: threading.Event = field(default_factory=threading.Event)
    limits: LabelLimits = field(default_factory=LabelLimits)

    def run_pending(self) -> None:
        """Check waiting and abandoned versions until none is left.

        Raises:
            Unavailable: The database does not answer.
        """
        while not self.stopping.is_set() and (request := self._claim()) is not None:
            try:
                self._check(request)
            except Stopped:
                self._requeue(request)

    def remove_orphans(self) -> None:
        """Remove uploads that no version waits for. Raises `Unavailable`."""
        for folder in self.storage.folders(UPLOADS):
            with skipping(CHECKS_LOOP, folder):
                self._remove_if_orphan(folder)

    def _remove_if_orphan(self, folder: str) -> None:
        files = self.storage.files(folder)
        newest = max((file.modified for file in files), default=0.0)
        if time.time() - newest < ORPHAN_SECONDS:
            return
        with self.unit_of_work.reading() as session:
            version = session.get(DatasetVersion, folder.rpartition("/")[2])
        if version is None or version.status != DatasetStatus.CHECKING.value:
            self.storage.remove_folder(folder)

    def _claim(self) -> VersionRequest | None:
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
            # The row is locked, so no other trainer can claim it in between.
            attempt = version.attempts + 1
            LEASES.claim(work.session, *_checking(version.id), attempts=attempt)
            return VersionRequest(
                id=version.id,
                name=version.name,
                version=version.version,
                base=version.asked["base"],
                files=version.asked["files"],
                remove=version.asked["remove"],
                jobs=LabelledJobs(self.unit_of_work) if version.asked["corrected"] else (),
                authors=trusted_authors(work.session),
                limits=self.limits,
                authors_of_jobs=self._authors_of_jobs,
                attempt=attempt,
            )

    def _authors_of_jobs(self, job_ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(job_ids), SLICE):
            with self.unit_of_work.reading() as session:
                found |= authors_of_jobs(session, job_ids[start : start + SLICE])
        return found

    def _check(self, request: VersionRequest) -> None:
        if request.attempt > MAX_ATTEMPTS:
            self._end(request, None, GIVEN_UP)
            return
        try:
            started = time.monotonic()
            built, message = self._outcome(request)
        except Unavailable as error:
            # Retried once the lease has expired, however long that takes.
            self._defer(request, error.detail)
            return
        self._end(request, built, message)
        log.info(
            "dataset_checked",
            dataset=request.name,
            version=request.version,
            message=message,
            seconds=round(time.monotonic() - started, 2),
        )

    def _outcome(self, request: VersionRequest) -> "tuple[BuiltVersion | None, str | None]":
        try:
            built = self._build(request)
        except (Unavailable, Stopped):
            raise
        except RayonError as error:
            return None, error.detail
        except OSError as error:
            if is_disk_full(error):
                raise Unavailable(f"The disk is full, make room in {self.work_folder}") from error
            return None, f"{type(error).__name__}: {error}"
        except Exception as error:
            log.exception("dataset_check_crashed", dataset=request.name, version=request.version)
            return None, f"{type(error).__name__}: {error}"
        return built, _error_messages(built)

    def _build(self, request: VersionRequest) -> "BuiltVersion":
        # It needs pandas, which takes 40 MiB that a trainer without work does not need.
        from trainer.datasets.builder import build

        self.work_folder.mkdir(parents=True, exist_ok=True)
        # Files of a killed check are incomplete.
        scratch = self.work_folder / f"dataset-{request.id}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            return build(self.storage, request, scratch, _Lease(self, request.id))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def renew(self, id_: str) -> None:
        """Renew the lease of a version."""
        with self.unit_of_work() as work:
            LEASES.renew(work.session, *_checking(id_))

    def _requeue(self, request: VersionRequest) -> None:
        # A shutdown does not count as an attempt.
        with self.unit_of_work() as work:
            LEASES.release(work.session, *_checking(request.id), attempts=request.attempt - 1)

    def _defer(self, request: VersionRequest, message: str) -> None:
        log.warning("dataset_check_deferred", dataset=request.name, error=message)
        with self.unit_of_work() as work:
            LEASES.change(
                work.session, *_checking(request.id), message=message, attempts=request.attempt - 1
            )

    def _end(
        self, request: VersionRequest, built: "BuiltVersion | None", message: str | None
    ) -> None:
        is_ready = built is not None and built.fingerprint is not None
        report = built.report if built else None
        with self.unit_of_work() as work:
            LEASES.release(
                work.session,
                *_checking(request.id),
                status=(DatasetStatus.READY if is_ready else DatasetStatus.FAILED).value,
                finished_at=now(),
                message=message,
                rows=report.rows if report else None,
                classes=report.classes if report else None,
                images=report.images if report else None,
                report=report.model_dump(mode="json", by_alias=True) if report else None,
                fingerprint=built.fingerprint if built else None,
            )
        try:
            self.storage.remove_folder(upload_folder(request.id))
        except Unavailable as error:
            log.warning("upload_removal_failed", id=request.id, error=error.detail)


@dataclass(frozen=True)
class LabelledJobs:
    """Jobs labelled by trusted people, in the order of their ids, read lazily.

    Each slice is read in its own read-only transaction: there may be a million jobs, and images
    are copied in between.
    """

    unit_of_work: UnitOfWork

    def __iter__(self) -> Iterator[LabelledJob]:
        """Read the jobs again. Raises `Unavailable`."""
        with self.unit_of_work.reading() as session:
            # Sorted here: with ORDER BY, SQLite scans all jobs by id instead of using the index
            # of labels.
            ids = sorted(session.scalars(select(Job.id).where(is_trusted_label())))
            shares = labelled_shares(session)
        for start in range(0, len(ids), SLICE):
            with self.unit_of_work.reading() as session:
                found = _labelled_jobs(session, ids[start : start + SLICE], shares)
            yield from found


@dataclass
class _Lease:
    """Progress callback that renews the lease and aborts the check on shutdown."""

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
        PROGRESS.succeeded(CHECKS_LOOP)


def _checking(id_: str) -> tuple[ColumnElement[bool], ...]:
    # A ready version never changes, even if a check ends after its lease has expired.
    return DatasetVersion.id == id_, DatasetVersion.status == DatasetStatus.CHECKING.value


def _labelled_jobs(
    session: Session, ids: Sequence[str], shares: Mapping[str, float]
) -> list[LabelledJob]:
    query = (
        select(
            Job.id,
            Job.designation,
            Job.description,
            Job.image_uri,
            Job.label,
            Job.labelled_by_id,
            Job.finished_at,
            Job.prdtypecode,
            Job.confidence,
            Review.reason,
            Review.chance,
            Review.random_chance,
        )
        .outerjoin(Review, Review.job_id == Job.id)
        # Retention has removed the products of old jobs; earlier versions contain them.
        .where(Job.id.in_(ids), Job.label.is_not(None), HAS_PRODUCT)
        .order_by(Job.id)
    )
    found = []
    for row in session.execute(query):
        if row.label is None or row.labelled_by_id is None:
            continue
        texts = row.designation, row.description
        job = LabelledJob(
            row.id,
            *texts,
            row.image_uri,
            row.label,
            row.labelled_by_id,
            answer=row.prdtypecode,
            confidence=row.confidence,
            answered_at=row.finished_at.timestamp() if row.finished_at else 0.0,
        )
        chance = labelled_chance(row, shares) if row.chance and row.finished_at else 0.0
        if chance:
            job = replace(job, represents=1 / chance)
        found.append(job)
    return found


def _error_messages(built: "BuiltVersion") -> str | None:
    return "; ".join(finding.message for finding in built.report.errors) or None
