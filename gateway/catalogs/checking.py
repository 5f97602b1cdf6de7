"""Check uploaded catalogs in threads, users in turn, while the rows of others are fed.

A user's catalogs are checked one after another. Large ones do not take every thread, so a small
table does not wait for the archives of others.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.held_catalogs import HeldCatalog, HeldCatalogs
from gateway.catalogs.importing.drafts import recalled_columns
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.row_check import Terms
from gateway.catalogs.service import report_of
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, NotFound

log = structlog.get_logger(__name__)

#: Checks at once. Few, because they share the interpreter with the feeding of rows.
THREADS = 3
#: Checks at once of uploads above `LARGE_BYTES`; the other threads are kept for smaller ones.
LARGE_AT_ONCE = 2
LARGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Running:
    """A check in a thread; it may outlast the lease on its catalog."""

    user_id: str
    is_large: bool
    future: Future[None]


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
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="check")
        self._running: dict[str, _Running] = {}
        # Users in the order of their last turn, the latest last.
        self._served: dict[str, None] = {}

    def advance(self, catalogs: Sequence[Catalog]) -> None:
        """Start the checks that have a thread, and defer catalogs whose check failed.

        Args:
            catalogs: The held catalogs that are `validating`, oldest first.
        """
        self._running = {id_: one for id_, one in self._running.items() if not one.future.done()}
        waiting = [one for one in catalogs if self._is_waiting(one)]
        users = {catalog.user_id for catalog in catalogs}
        self._served = {user_id: None for user_id in self._served if user_id in users}
        for catalog in self._in_turn(waiting):
            held = self._held.get(catalog.id)
            if held is not None and self._has_thread(catalog):
                self._start(catalog, held)

    def close(self) -> None:
        """Wait for the checks that have started."""
        self._executor.shutdown(cancel_futures=True)

    def _is_waiting(self, catalog: Catalog) -> bool:
        """Return True if a check may start; defer the catalog if its check has failed."""
        held = self._held.get(catalog.id)
        if held is None or catalog.id in self._running:
            return False
        if held.check is None:
            return time.monotonic() >= held.not_before
        if held.check.done() and (error := held.check.exception()) is not None:
            held.check = None
            self._held.defer(catalog, held, error)
        return False

    def _in_turn(self, catalogs: Sequence[Catalog]) -> Iterator[Catalog]:
        """Iterate over catalogs, those of the user who was served the longest time ago first."""
        turns = {user_id: turn for turn, user_id in enumerate(self._served, start=1)}
        yield from sorted(catalogs, key=lambda one: (turns.get(one.user_id, 0), one.id))

    def _has_thread(self, catalog: Catalog) -> bool:
        running = self._running.values()
        if len(running) >= THREADS or any(one.user_id == catalog.user_id for one in running):
            return False
        return not _is_large(catalog) or sum(one.is_large for one in running) < LARGE_AT_ONCE

    def _start(self, catalog: Catalog, held: HeldCatalog) -> None:
        held.check = self._executor.submit(self._check, catalog)
        self._running[catalog.id] = _Running(catalog.user_id, _is_large(catalog), held.check)
        self._served.pop(catalog.user_id, None)
        self._served[catalog.user_id] = None

    def _check(self, catalog: Catalog) -> None:
        values = self._checked(catalog)
        with self._unit_of_work() as work:
            self._leases.change(work.session, catalog.id, CatalogStatus.VALIDATING, values)
            if "finished_at" in values:
                work.announce([catalog.id])
        if "finished_at" in values and catalog.kept_until is None:
            self._files.remove_images(catalog.id)

    def _checked(self, catalog: Catalog) -> dict[str, Any]:
        """Return the column values that record a catalog's check."""
        started_at = now()
        with self._unit_of_work.reading() as session:
            report = report_of(session, catalog.id)
        try:
            recall = partial(recalled_columns, self._unit_of_work, catalog.user_id)
            finding = self._files.inspect(catalog, report, self._terms_of(catalog), recall)
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


def _is_large(catalog: Catalog) -> bool:
    return catalog.size > LARGE_BYTES
