"""Turns catalogs into jobs: checks a file row by row, then feeds its rows to the workers.

A million rows do not flood the queue: of each user only so many rows are at work as keep the
workers busy, shared by turns between the user's catalogs. What is done is in the database, slice
by slice, so that another feeder goes on where one was killed.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, defer

from gateway.catalogs import slices
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.image_archive import Archive
from gateway.catalogs.leases import CatalogLeases, LeaseLost
from gateway.catalogs.product_file import form_of
from gateway.catalogs.row_check import Checked, Terms, checked_rows
from gateway.catalogs.service import UNFINISHED, counts
from gateway.settings import CatalogSettings
from shared import metrics
from shared.contracts import Lane, Modality
from shared.db.models import NOT_DONE, Catalog, CatalogStatus, Job, JobStatus, now, row_of_job
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, NotFound, RayonError, Unavailable

log = structlog.get_logger(__name__)

#: The rate is measured over these last seconds, and written down this often.
RATE_SECONDS = 15.0
TELL_SECONDS = 1.0
#: A catalog whose storage or database failed is taken up again after this long, and after this
#: many times as long as it takes to come to its next row again: other catalogs wait meanwhile.
DEFER_SECONDS = 3.0
DEFER_FACTOR = 10
#: A catalog that was taken up again so often at the same row, for what is no fault of the storage
#: or the database, ends there.
MAX_DEFERRALS = 5
#: How often a feeder looks for a new catalog while it has none.
IDLE_SECONDS = 0.25
#: How often a feeder asks who works.
WORKERS_SECONDS = 5.0


@dataclass
class _Course:
    """A catalog that this feeder works on."""

    id: str
    files: ExitStack = field(default_factory=ExitStack)
    rows: Iterator[Checked] | None = None
    archive: Archive | None = None
    check: Future[None] | None = None
    renewed: float = field(default_factory=time.monotonic)
    told: float = 0.0
    #: After something failed that may work later.
    not_before: float = 0.0
    #: Where it failed last by itself, and how often there.
    fault: tuple[object, ...] = ()
    faults: int = 0
    #: How long it took to open the files and to pass over the rows that are fed.
    passing_seconds: float = 0.0
    #: Moments, and how many rows were answered by then.
    answered: deque[tuple[float, int]] = field(default_factory=deque)

    def close(self) -> None:
        """Let go of the files; the next slice begins from what the database says."""
        self.rows = self.archive = None
        self.files.close()

    def count(self, *place: object) -> int:
        """How often it has failed here."""
        self.faults = self.faults + 1 if place == self.fault else 1
        self.fault = place
        return self.faults


class Feeder:
    """Works on the catalogs that no other feeder has.

    Args:
        unit_of_work: Opens transactions; the jobs' messages leave after the commit.
        files: Opens what was uploaded.
        settings: Slices, windows, limits.
        max_characters: Of a title, and of a description.
        job_lease_seconds: When the sweeper looks at a job first.
        workers: How many workers of each kind consume the catalog lane. Raises `Unavailable`.
    """

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        files: CatalogFiles,
        settings: CatalogSettings,
        *,
        max_characters: int,
        job_lease_seconds: float,
        workers: Callable[[], Mapping[Modality, int]],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._files = files
        self._settings = settings
        self._max_characters = max_characters
        self._job_lease_seconds = job_lease_seconds
        self._workers = workers
        self._leases = CatalogLeases(unit_of_work, settings.lease_seconds)
        self._courses: dict[str, _Course] = {}
        # One file is checked at a time, while the rows of others are fed.
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="check")
        self._known_workers: Mapping[Modality, int] = {}
        self._asked_workers = float("-inf")
        self._turn = 0

    def run(self, stop: threading.Event) -> None:
        """Feed until told to stop; what is unfinished goes to another feeder at once."""
        while not stop.is_set():
            try:
                has_fed = self.step()
            except Unavailable as error:
                log.warning("feeding_deferred", error=error.detail)
                stop.wait(DEFER_SECONDS)
                continue
            except Exception:
                log.exception("feeding_failed")
                stop.wait(DEFER_SECONDS)
                continue
            if not has_fed:
                stop.wait(self._settings.interval_seconds if self._courses else IDLE_SECONDS)
        self.close()

    def step(self) -> bool:
        """Look at every catalog once; returns whether any row was fed.

        Raises:
            Unavailable: The database does not answer; nothing was changed.
        """
        with self._unit_of_work.reading() as session:
            unfinished = session.scalars(
                select(Catalog)
                .where(Catalog.status.in_(UNFINISHED))
                .order_by(Catalog.id)
                # It may be long, and is not asked for here.
                .options(defer(Catalog.report))
            ).all()
        self._drop(self._courses.keys() - {one.id for one in unfinished})
        by_user: dict[str, list[Catalog]] = defaultdict(list)
        for catalog in unfinished:
            if not self._is_mine(catalog):
                continue
            if catalog.status == CatalogStatus.RUNNING.value:
                by_user[catalog.user_id].append(catalog)
            else:
                self._check(catalog, self._courses[catalog.id])
        self._turn += 1
        return sum(self._feed_user(catalogs) for catalogs in by_user.values()) > 0

    def close(self) -> None:
        """Give everything back."""
        self._checks.shutdown(cancel_futures=True)
        try:
            self._leases.give_back(set(self._courses))
        except Unavailable as error:
            log.warning("catalogs_not_given_back", error=error.detail)
        self._drop(set(self._courses))

    def _is_mine(self, catalog: Catalog) -> bool:
        course = self._courses.get(catalog.id)
        if not self._leases.may_take(catalog):
            self._drop({catalog.id})
            return False
        is_fresh = course is not None and (
            time.monotonic() - course.renewed < self._settings.lease_seconds / 3
        )
        if is_fresh and catalog.leased_by is not None:
            return True
        if not self._leases.take(catalog.id):
            self._drop({catalog.id})
            return False
        course = self._courses.setdefault(catalog.id, _Course(catalog.id))
        course.renewed = time.monotonic()
        return True

    def _drop(self, ids: set[str]) -> None:
        for id_ in ids & self._courses.keys():
            self._courses.pop(id_).close()

    def _defer(self, catalog: Catalog, course: _Course, error: BaseException) -> None:
        passing = DEFER_FACTOR * course.passing_seconds
        course.not_before = time.monotonic() + max(DEFER_SECONDS, passing)
        course.close()
        log.warning(
            "catalog_deferred",
            catalog=course.id,
            error=f"{type(error).__name__}: {error}",
            exc_info=None if isinstance(error, RayonError | LeaseLost) else error,
        )
        # A disk or a database that is away says nothing of the catalog.
        if isinstance(error, Unavailable | OSError | LeaseLost):
            return
        times = course.count(catalog.status, catalog.fed_until, catalog.retried_until)
        if times > MAX_DEFERRALS:
            self._fail(catalog, error)

    def _fail(self, catalog: Catalog, error: BaseException) -> None:
        """End a catalog that would fail again and again; the answers that are there stay."""
        if not isinstance(error, RayonError):
            error = RayonError("something went wrong that the service's log tells of")
        values = {
            "status": CatalogStatus.FAILED.value,
            "finished_at": now(),
            "retried_until": None,
            "error_code": error.code,
            "error_message": f"It cannot be read beyond row {catalog.fed_until}: {error.detail}",
        }
        try:
            with self._unit_of_work() as work:
                status = CatalogStatus(catalog.status)
                self._leases.change(work.session, catalog.id, status, values)
        except LeaseLost:
            self._drop({catalog.id})
            return
        self._drop({catalog.id})
        log.error("catalog_failed", catalog=catalog.id, row=catalog.fed_until)
        self._files.remove_images(catalog.id)

    # Checking

    def _check(self, catalog: Catalog, course: _Course) -> None:
        if course.check is None:
            if time.monotonic() >= course.not_before:
                course.check = self._checks.submit(self._check_now, catalog)
        elif course.check.done() and (error := course.check.exception()) is not None:
            course.check = None
            self._defer(catalog, course, error)

    def _check_now(self, catalog: Catalog) -> None:
        moment = now()
        try:
            finding = self._files.inspect(catalog, self._terms(catalog))
        except (InvalidInput, NotFound) as error:
            values = {
                "status": CatalogStatus.FAILED.value,
                "finished_at": moment,
                "error_code": error.code,
                "error_message": error.detail,
            }
            log.info("catalog_refused", catalog=catalog.id, reason=error.detail)
        else:
            values = {**vars(finding), "started_at": now(), "status": CatalogStatus.RUNNING.value}
            if catalog.dry_run:
                values |= {"status": CatalogStatus.FINISHED.value, "finished_at": now()}
            log.info("catalog_checked", catalog=catalog.id, rows=finding.rows)
        with self._unit_of_work() as work:
            self._leases.change(work.session, catalog.id, CatalogStatus.VALIDATING, values)
        if "finished_at" in values:
            self._files.remove_images(catalog.id)

    def _terms(self, catalog: Catalog) -> Terms:
        return Terms(catalog.model, self._max_characters, self._settings.max_rows)

    # Feeding

    def _feed_user(self, catalogs: Sequence[Catalog]) -> int:
        """Feed a user's catalogs by turns while there is room; returns how many rows were fed."""
        with self._unit_of_work.reading() as session:
            at_work = _at_work(session, catalogs)
        room = 1.0 - sum(self._share(*at_work.get(one.id, (0, 0))) for one in catalogs)
        first, fed = self._turn % len(catalogs), 0
        waiting = deque([*catalogs[first:], *catalogs[:first]])
        while waiting and room > 0:
            catalog = waiting.popleft()
            slice_ = self._fed(catalog)
            if slice_ is not None:
                room -= self._share(*slice_)
                fed += sum(slice_)
                waiting.append(catalog)
            elif catalog.id not in at_work and self._is_fed(catalog):
                self._finish(catalog)
            at_work.setdefault(catalog.id, (0, 0))
        for catalog in catalogs:
            self._tell(catalog)
        return fed

    def _share(self, texts: int, images: int) -> float:
        """The part of a user's window that some rows take."""
        # By the workers of its own kind: where texts have more of them, texts are fed for all.
        text_window = self._settings.text_window * self._lane_workers(Modality.TEXT)
        image_window = self._settings.image_window * self._lane_workers(Modality.IMAGE)
        return texts / text_window + images / image_window

    def _fed(self, catalog: Catalog) -> tuple[int, int] | None:
        """Feed a slice, if there is one; returns its rows without an image, and with one."""
        course = self._courses.get(catalog.id)
        if course is None or time.monotonic() < course.not_before or self._is_fed(catalog):
            return None
        try:
            if catalog.retried_until is None:
                return self._feed(catalog, course)
            return self._feed_failed(catalog, catalog.retried_until)
        except LeaseLost:
            self._drop({catalog.id})
        except Exception as error:
            # Of one catalog alone, such as a full disk: the others go on.
            self._defer(catalog, course, error)
        return None

    def _is_fed(self, catalog: Catalog) -> bool:
        return catalog.retried_until is None and catalog.fed_until >= catalog.rows

    def _feed(self, catalog: Catalog, course: _Course) -> tuple[int, int]:
        if course.rows is None:
            course.rows = self._rows_behind(catalog, course)
        checked = slices.next_slice(
            course.rows, self._settings.text_slice, self._settings.image_slice
        )
        jobs = slices.job_rows(
            catalog, checked, course.archive, self._files.storage, self._job_lease_seconds
        )
        fed = catalog.fed + len(jobs)
        until = checked[-1].row.number if checked else catalog.rows
        with self._unit_of_work() as work:
            self._advance(work.session, catalog, fed=fed, fed_until=until)
            slices.add(work, catalog, jobs)
        catalog.fed, catalog.fed_until = fed, until
        metrics.jobs_submitted_total.labels(Lane.CATALOG.value, catalog.model).inc(len(jobs))
        images = sum(job["wants_image"] for job in jobs)
        return len(jobs) - images, images

    def _feed_failed(self, catalog: Catalog, behind: int) -> tuple[int, int]:
        limit = self._settings.image_slice
        with self._unit_of_work() as work:
            failed = slices.failed_after(work.session, catalog.id, behind, limit)
            until = row_of_job(failed[-1].id) if failed else None
            self._advance(work.session, catalog, retried_until=until)
            slices.queue_again(work, failed, self._job_lease_seconds)
        catalog.retried_until = until
        return 0, len(failed)

    def _advance(self, session: Session, catalog: Catalog, **values: int | None) -> None:
        self._leases.change(session, catalog.id, CatalogStatus.RUNNING, values)

    def _rows_behind(self, catalog: Catalog, course: _Course) -> Iterator[Checked]:
        began = time.monotonic()
        products = self._files.products(catalog, course.files)
        course.archive = self._files.archive(catalog, course.files)
        rows = checked_rows(products, form_of(products), course.archive, self._terms(catalog))
        next(islice(rows, catalog.fed_until, catalog.fed_until), None)
        course.passing_seconds = time.monotonic() - began
        return rows

    def _lane_workers(self, modality: Modality) -> int:
        if time.monotonic() - self._asked_workers > WORKERS_SECONDS:
            self._asked_workers = time.monotonic()
            try:
                self._known_workers = self._workers()
            except Unavailable as error:
                log.warning("workers_unknown", error=error.detail)
        # Without any, a few rows wait for the first one.
        return max(1, self._known_workers.get(modality, 0))

    # Telling and ending

    def _finish(self, catalog: Catalog) -> None:
        moment = now()
        with self._unit_of_work.reading() as session:
            done = counts(session, [catalog])[catalog.id].done
        seconds = (moment - (catalog.started_at or catalog.created_at)).total_seconds()
        values = {
            "status": CatalogStatus.FINISHED.value,
            "finished_at": moment,
            "rows_per_second": done / max(seconds, 0.001),
        }
        try:
            with self._unit_of_work() as work:
                self._leases.change(work.session, catalog.id, CatalogStatus.RUNNING, values)
        except LeaseLost:
            return
        finally:
            self._drop({catalog.id})
        self._files.remove_images(catalog.id)
        log.info("catalog_finished", catalog=catalog.id, done=done, seconds=round(seconds, 3))

    def _tell(self, catalog: Catalog) -> None:
        """Write the present rate down, now and then."""
        course, moment = self._courses.get(catalog.id), time.monotonic()
        if course is None or moment - course.told < TELL_SECONDS:
            return
        course.told = moment
        with self._unit_of_work() as work:
            counted = counts(work.session, [catalog])[catalog.id]
            rate = _rate(course.answered, moment, counted.done + counted.failed)
            if rate is not None:
                work.session.execute(
                    update(Catalog).where(Catalog.id == catalog.id).values(rows_per_second=rate)
                )


def _rate(answered: deque[tuple[float, int]], moment: float, rows: int) -> float | None:
    """Rows a second over the last seconds; `None` until any was answered in them."""
    answered.append((moment, rows))
    while len(answered) > 2 and moment - answered[0][0] > RATE_SECONDS:
        answered.popleft()
    begin, before = answered[0]
    return (rows - before) / (moment - begin) if rows > before else None


def _at_work(session: Session, catalogs: Sequence[Catalog]) -> dict[str, tuple[int, int]]:
    """By catalog, its rows at work: without an image, and with one."""
    found: dict[str, tuple[int, int]] = {}
    query = (
        select(Job.catalog_id, Job.wants_image, func.count())
        .where(
            Job.catalog_id.in_([one.id for one in catalogs]),
            NOT_DONE,
            Job.status == JobStatus.QUEUED.value,
        )
        .group_by(Job.catalog_id, Job.wants_image)
    )
    for catalog_id, has_image, count in session.execute(query):
        texts, images = found.get(str(catalog_id), (0, 0))
        found[str(catalog_id)] = (texts, count) if has_image else (count, images)
    return found
