"""Feed a catalog's next slice: new rows from the file, or failed rows that are retried."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy.orm import Session

from gateway.catalogs import slices
from gateway.catalogs.checking import LARGE_BYTES
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.held_catalogs import HeldCatalog, HeldCatalogs
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.products import form_in
from gateway.catalogs.repair.kept_images import add_kept, kept_images
from gateway.catalogs.repair.running import (
    join,
    joined_between,
    locked_counts,
    next_repairs,
)
from gateway.catalogs.row_check import Checked, Terms, checked_rows
from gateway.catalogs.service import report_of
from gateway.catalogs.slices import RowCounts
from gateway.settings import CatalogSettings
from shared import metrics
from shared.contracts import Lane
from shared.db.leases import LeaseLost
from shared.db.models import Catalog, CatalogStatus, JobStatus, row_of_job
from shared.db.session import UnitOfWork


def _opener() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="open")


@dataclass(frozen=True)
class SliceFeeder:
    """Turn slices of rows into jobs, each in one transaction with the catalog's position."""

    unit_of_work: UnitOfWork
    leases: CatalogLeases
    files: CatalogFiles
    held: HeldCatalogs
    settings: CatalogSettings
    terms_of: Callable[[Catalog], Terms]
    job_lease_seconds: float
    opener: ThreadPoolExecutor = field(default_factory=_opener)

    def close(self) -> None:
        """Cancel the opening of files, and wait for the one that has begun."""
        self.opener.shutdown(cancel_futures=True)

    def feed(self, catalog: Catalog) -> RowCounts | None:
        """Feed a slice and return its rows; `None` if the catalog has none now."""
        held = self.held.get(catalog.id)
        if held is None or time.monotonic() < held.not_before or is_fed(catalog):
            return None
        try:
            if catalog.retried_until is not None:
                return self._feed_failed(catalog, catalog.retried_until)
            if catalog.repaired_until is not None and catalog.fed_until >= catalog.rows:
                return self._feed_repaired(catalog)
            return self._feed_new(catalog, held)
        except LeaseLost:
            self.held.drop(catalog.id)
        except Exception as error:
            # An error of one catalog, such as a full disk, must not stop the others.
            self.held.defer(catalog, held, error)
        return None

    def _feed_new(self, catalog: Catalog, held: HeldCatalog) -> RowCounts | None:
        if held.rows is not None and held.position != catalog.fed_until:
            # It was cancelled and resumed since the last slice.
            held.close_files()
        if held.rows is None:
            self._open(catalog, held)
        if held.rows is None:
            return None
        checked = slices.next_slice(held.rows, self.settings.text_slice, self.settings.image_slice)
        until = checked[-1].row.number if checked else catalog.rows
        known, joined = self._known_jobs(catalog, held, until)
        unfinished = slices.unfinished(catalog, checked, known)
        jobs = slices.job_rows(
            catalog,
            [one for one in unfinished if one.row.number not in joined],
            held.archive,
            self.files.storage,
            self.job_lease_seconds,
        )
        fed = catalog.fed + sum(job["id"] not in known for job in jobs)
        kept = kept_images(catalog, checked, held.archive, self.files.storage)
        with self.unit_of_work() as work:
            self._advance(work.session, catalog, fed=fed, fed_until=until)
            slices.add(work, catalog, jobs, known)
            add_kept(work.session, catalog.id, kept)
        catalog.fed, catalog.fed_until, held.position = fed, until, until
        metrics.jobs_submitted_total.labels(Lane.CATALOG.value, catalog.model).inc(len(jobs))
        images = sum(job["wants_image"] for job in jobs)
        return RowCounts(len(jobs) - images, images)

    def _known_jobs(
        self, catalog: Catalog, held: HeldCatalog, until: int
    ) -> tuple[Mapping[str, JobStatus], set[int]]:
        """Return the jobs that rows of a resumed catalog already have, by ID.

        The numbers of the rows that were repaired come second: they are fed with their repairs.
        """
        if catalog.fed_until >= held.resumed_until:
            return {}, set()
        between = catalog.id, catalog.fed_until, until
        with self.unit_of_work.reading() as session:
            return slices.jobs_between(session, *between), joined_between(session, *between)

    def _feed_failed(self, catalog: Catalog, after_row: int) -> RowCounts:
        limit = self.settings.image_slice
        with self.unit_of_work() as work:
            failed = slices.failed_after(work.session, catalog.id, after_row, limit)
            until = row_of_job(failed[-1].id) if failed else None
            self._advance(work.session, catalog, retried_until=until)
            slices.queue_again(work, failed, self.job_lease_seconds)
        catalog.retried_until = until
        return RowCounts(0, len(failed))

    def _feed_repaired(self, catalog: Catalog) -> RowCounts:
        limits = self.settings.text_slice, self.settings.image_slice
        with self.unit_of_work() as work:
            fed, rejected = locked_counts(work.session, catalog.id)
            repairs = next_repairs(work.session, catalog.id, *limits)
            until = repairs[-1].row if repairs else None
            new, images = join(work, catalog, repairs, self.job_lease_seconds)
            values = {
                "repaired_until": until,
                "fed": fed + new,
                "rejected": rejected - new,
            }
            self._advance(work.session, catalog, **values)
        for name, value in values.items():
            setattr(catalog, name, value)
        metrics.jobs_submitted_total.labels(Lane.CATALOG.value, catalog.model).inc(len(repairs))
        return RowCounts(len(repairs) - images, images)

    def _advance(self, session: Session, catalog: Catalog, **values: int | None) -> None:
        self.leases.change(session, catalog.id, CatalogStatus.RUNNING, values)

    def _open(self, catalog: Catalog, held: HeldCatalog) -> None:
        """Open a catalog's files, at once or, if they are large, in a thread.

        Copying an archive from an object store, and reading its list of entries, would delay the
        rows of all other catalogs.
        """
        if catalog.size <= LARGE_BYTES:
            held.rows = self._open_rows(catalog, held)
        elif held.opening is None:
            held.opening = self.opener.submit(self._open_aside, catalog)
        elif held.opening.done():
            opening, held.opening = held.opening, None
            opened = opening.result()
            held.files, held.archive, held.rows = opened.files, opened.archive, opened.rows
            held.position, held.resumed_until = opened.position, opened.resumed_until
            held.seek_seconds = opened.seek_seconds

    def _open_aside(self, catalog: Catalog) -> HeldCatalog:
        opened = HeldCatalog(catalog.id)
        try:
            opened.rows = self._open_rows(catalog, opened)
        except BaseException:
            opened.close_files()
            raise
        return opened

    def _open_rows(self, catalog: Catalog, held: HeldCatalog) -> Iterator[Checked]:
        """Open a catalog's files and skip the rows already fed."""
        began = time.monotonic()
        with self.unit_of_work.reading() as session:
            report = report_of(session, catalog.id)
            held.resumed_until = slices.last_row(session, catalog.id)
        products = self.files.products(catalog, report, held.files)
        held.archive = self.files.archive(catalog, held.files)
        form = form_in(products, report)
        rows = checked_rows(products, form, held.archive, self.terms_of(catalog))
        next(islice(rows, catalog.fed_until, catalog.fed_until), None)
        held.position = catalog.fed_until
        held.seek_seconds = time.monotonic() - began
        return rows


def is_fed(catalog: Catalog) -> bool:
    """Return True if no row is left to feed, to retry or to run after a repair."""
    is_again = catalog.retried_until is not None or catalog.repaired_until is not None
    return not is_again and catalog.fed_until >= catalog.rows
