"""Check uploaded catalogs in a thread, one file at a time, while the rows of others are fed."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.held_catalogs import HeldCatalogs
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.row_check import Terms
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, NotFound

log = structlog.get_logger(__name__)


class UploadChecks:
    """Check catalogs that are `validating`, and make them running, finished or failed."""

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        leases: CatalogLeases,
        files: CatalogFiles,
        held: HeldCatalogs,
        terms_of: Callable[[Catalog], Terms],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._leases = leases
        self._files = files
        self._held = held
        self._terms_of = terms_of
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="check")

    def advance(self, catalog: Catalog) -> None:
        """Start a catalog's check if its back-off has ended; defer the catalog if it failed."""
        held = self._held.get(catalog.id)
        if held is None:
            return
        if held.check is None:
            if time.monotonic() >= held.not_before:
                held.check = self._executor.submit(self._check, catalog)
        elif held.check.done() and (error := held.check.exception()) is not None:
            held.check = None
            self._held.defer(catalog, held, error)

    def close(self) -> None:
        """Cancel the checks that have not started, and wait for the one that has."""
        self._executor.shutdown(cancel_futures=True)

    def _check(self, catalog: Catalog) -> None:
        values = self._checked(catalog)
        with self._unit_of_work() as work:
            self._leases.change(work.session, catalog.id, CatalogStatus.VALIDATING, values)
        if "finished_at" in values:
            self._files.remove_images(catalog.id)

    def _checked(self, catalog: Catalog) -> dict[str, Any]:
        """Return the column values that record a catalog's check."""
        started_at = now()
        try:
            finding = self._files.inspect(catalog, self._terms_of(catalog))
        except (InvalidInput, NotFound) as error:
            log.info("catalog_refused", catalog=catalog.id, reason=error.detail)
            return {
                "status": CatalogStatus.FAILED.value,
                "finished_at": started_at,
                "error_code": error.code,
                "error_message": error.detail,
            }
        values = {**vars(finding), "started_at": now(), "status": CatalogStatus.RUNNING.value}
        if catalog.dry_run:
            values |= {"status": CatalogStatus.FINISHED.value, "finished_at": now()}
        log.info("catalog_checked", catalog=catalog.id, rows=finding.rows)
        return values
