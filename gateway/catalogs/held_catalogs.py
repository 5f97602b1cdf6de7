"""The catalogs that this feeder holds a lease on: their open files, and retries after failures."""

import time
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field

import structlog

from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.image_archive import Archive
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.repair.queued import release
from gateway.catalogs.row_check import Checked
from shared.db.leases import LeaseLost
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable

log = structlog.get_logger(__name__)

#: Back-off after a storage or database failure, and its multiple of the time that it takes to
#: reach the catalog's next row again. Other catalogs are fed meanwhile.
DEFER_SECONDS = 3.0
DEFER_FACTOR = 10
#: Retries at the same row before the catalog fails, unless the storage or database is at fault.
MAX_DEFERRALS = 5


@dataclass
class HeldCatalog:
    """The state of one catalog in this process.

    Attributes:
        id: The catalog's ID.
        files: Closes the open files.
        rows: Rows not yet fed; `None` while the files are closed.
        position: Number of the row before the next one of `rows`.
        resumed_until: Number of the last row that had a job when the files were opened.
        archive: The open image archive, if the catalog has one.
        check: The check of the upload, while it runs.
        opening: The opening of large files, while it runs.
        lease_renewed_at: Monotonic time of the last lease renewal.
        rate_recorded_at: Monotonic time of the last recorded rate.
        not_before: Monotonic time at which the back-off after a failure ends.
        failed_at: Status and row of the last failure.
        failures: Consecutive failures at that place.
        seek_seconds: Time to open the files and skip the rows already fed.
        answered: Monotonic times, each with the number of rows answered by then.
    """

    id: str
    files: ExitStack = field(default_factory=ExitStack)
    rows: Iterator[Checked] | None = None
    position: int = 0
    resumed_until: int = 0
    archive: Archive | None = None
    check: Future[None] | None = None
    opening: "Future[HeldCatalog] | None" = None
    lease_renewed_at: float = field(default_factory=time.monotonic)
    rate_recorded_at: float = 0.0
    not_before: float = 0.0
    failed_at: tuple[object, ...] = ()
    failures: int = 0
    seek_seconds: float = 0.0
    answered: deque[tuple[float, int]] = field(default_factory=deque)

    def close_files(self) -> None:
        """Close the files; the next slice starts from the position in the database."""
        self.rows = self.archive = None
        if self.opening is not None:
            self.opening.add_done_callback(_close_opened)
            self.opening = None
        self.files.close()

    def record_failure(self, *place: object) -> int:
        """Return the number of consecutive failures at a place, including this one."""
        self.failures = self.failures + 1 if place == self.failed_at else 1
        self.failed_at = place
        return self.failures


def _close_opened(opening: Future[HeldCatalog]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close_files()


class HeldCatalogs:
    """Acquire, renew and release catalogs, and defer or fail those that raise errors."""

    def __init__(
        self, unit_of_work: UnitOfWork, leases: CatalogLeases, files: CatalogFiles
    ) -> None:
        self._unit_of_work = unit_of_work
        self._leases = leases
        self._files = files
        self._held: dict[str, HeldCatalog] = {}

    def __len__(self) -> int:
        """Return the number of catalogs held."""
        return len(self._held)

    def get(self, catalog_id: str) -> HeldCatalog | None:
        """Return a catalog's state, or `None` if this feeder does not hold it."""
        return self._held.get(catalog_id)

    def hold(self, catalog: Catalog) -> bool:
        """Acquire or renew the lease of a catalog; return False if another feeder holds it."""
        if not self._leases.may_take(catalog):
            self.drop(catalog.id)
            return False
        held = self._held.get(catalog.id)
        if held is not None and catalog.leased_by is not None and self._is_fresh(held):
            return True
        if not self._leases.take(catalog.id):
            self.drop(catalog.id)
            return False
        held = self._held.setdefault(catalog.id, HeldCatalog(catalog.id))
        held.lease_renewed_at = time.monotonic()
        return True

    def drop(self, catalog_id: str) -> None:
        """Close the files of a catalog that this feeder no longer holds."""
        if catalog_id in self._held:
            self._held.pop(catalog_id).close_files()

    def keep_only(self, catalog_ids: Collection[str]) -> None:
        """Drop every catalog that is not listed."""
        for catalog_id in self._held.keys() - catalog_ids:
            self.drop(catalog_id)

    def defer(self, catalog: Catalog, held: HeldCatalog, error: BaseException) -> None:
        """Retry a catalog after the back-off, or fail it after too many retries at one row."""
        seek = DEFER_FACTOR * held.seek_seconds
        held.not_before = time.monotonic() + max(DEFER_SECONDS, seek)
        held.close_files()
        log.warning(
            "catalog_deferred",
            catalog=held.id,
            error=f"{type(error).__name__}: {error}",
            exc_info=None if isinstance(error, RayonError | LeaseLost) else error,
        )
        # An unreachable disk or database is no fault of the catalog.
        if isinstance(error, Unavailable | OSError | LeaseLost):
            return
        place = (
            catalog.status,
            catalog.fed_until,
            catalog.retried_until,
            catalog.repaired_until,
        )
        if held.record_failure(*place) > MAX_DEFERRALS:
            self._fail(catalog, error)

    def close(self) -> None:
        """Release every lease at once, so that other feeders need not wait for it to expire."""
        try:
            self._leases.give_back(set(self._held))
        except Unavailable as error:
            log.warning("catalog_leases_not_released", error=error.detail)
        self.keep_only(())

    def _is_fresh(self, held: HeldCatalog) -> bool:
        return time.monotonic() - held.lease_renewed_at < self._leases.seconds / 3

    def _fail(self, catalog: Catalog, error: BaseException) -> None:
        """End a catalog that keeps failing; its answers so far are kept."""
        if not isinstance(error, RayonError):
            error = RayonError("an internal error; the service's log has the details")
        values = {
            "status": CatalogStatus.FAILED.value,
            "finished_at": now(),
            "retried_until": None,
            "repaired_until": None,
            "kept_until": None,
            "error_code": error.code,
            "error_message": f"Cannot read beyond row {catalog.fed_until}: {error.detail}",
        }
        try:
            with self._unit_of_work() as work:
                status = CatalogStatus(catalog.status)
                self._leases.change(work.session, catalog.id, status, values)
                release(work.session, catalog.id)
                work.announce([catalog.id])
        except LeaseLost:
            self.drop(catalog.id)
            return
        self.drop(catalog.id)
        log.error("catalog_failed", catalog=catalog.id, row=catalog.fed_until)
        self._files.remove_images(catalog.id)
