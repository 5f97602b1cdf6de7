"""Fair turns: a user's catalogs share one window of queued rows; each user has a window."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from gateway.catalogs.progress import Progress, queued_rows
from gateway.catalogs.slice_feeder import SliceFeeder, is_fed
from gateway.catalogs.slices import RowCounts
from gateway.settings import CatalogSettings
from shared.contracts import Modality
from shared.db.models import Catalog
from shared.db.session import UnitOfWork
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Seconds between two counts of the workers.
WORKERS_SECONDS = 5.0


class Window:
    """The number of rows that a user may have queued, which grows with the number of workers."""

    def __init__(
        self, settings: CatalogSettings, workers: Callable[[], Mapping[Modality, int]]
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._known_workers: Mapping[Modality, int] = {}
        self._counted_at = float("-inf")

    def share(self, rows: RowCounts) -> float:
        """Return the part of a user's window that some rows take; 1.0 is the whole window."""
        # Each modality's window follows its own workers: with more text workers, more texts are
        # fed, however few image workers there are.
        text_window = self._settings.text_window * self._lane_workers(Modality.TEXT)
        image_window = self._settings.image_window * self._lane_workers(Modality.IMAGE)
        return rows.texts / text_window + rows.images / image_window

    def _lane_workers(self, modality: Modality) -> int:
        if time.monotonic() - self._counted_at > WORKERS_SECONDS:
            self._counted_at = time.monotonic()
            try:
                self._known_workers = self._workers()
            except Unavailable as error:
                log.warning("worker_count_failed", error=error.detail)
        # Without a worker, a few rows are queued for the first one that starts.
        return max(1, self._known_workers.get(modality, 0))


class Turns:
    """Feed running catalogs slice by slice, one catalog of a user after another."""

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        window: Window,
        slices: SliceFeeder,
        progress: Progress,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._window = window
        self._slices = slices
        self._progress = progress
        self._turn = 0

    def feed(self, catalogs: Sequence[Catalog]) -> int:
        """Feed every user's catalogs while the window has room; return the number of rows fed."""
        by_user: dict[str, list[Catalog]] = defaultdict(list)
        for catalog in catalogs:
            by_user[catalog.user_id].append(catalog)
        self._turn += 1
        return sum(self._feed_user(of_user) for of_user in by_user.values())

    def _feed_user(self, catalogs: Sequence[Catalog]) -> int:
        with self._unit_of_work.reading() as session:
            queued = queued_rows(session, catalogs)
        room = 1.0 - sum(self._window.share(rows) for rows in queued.values())
        # Each step starts with another catalog, so that none is always served first.
        first, fed = self._turn % len(catalogs), 0
        waiting = deque([*catalogs[first:], *catalogs[:first]])
        fed_now: set[str] = set()
        while waiting and room > 0:
            catalog = waiting.popleft()
            rows = self._slices.feed(catalog)
            if rows is not None:
                room -= self._window.share(rows)
                fed += sum(rows)
                fed_now.add(catalog.id)
                waiting.append(catalog)
            elif is_fed(catalog) and catalog.id not in queued.keys() | fed_now:
                self._progress.finish(catalog)
        for catalog in catalogs:
            self._progress.record_rate(catalog)
        return fed
