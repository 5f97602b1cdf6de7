"""Check uploaded catalogs row by row, then feed their rows to the workers.

A catalog of a million rows does not flood the queue: a user's catalogs share, in turn, a window of
rows that is just large enough to keep the workers busy. Progress is in the database, slice by
slice, so that another feeder continues where one was killed.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.orm import defer

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.checking import UploadChecks
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.held_catalogs import DEFER_SECONDS, HeldCatalogs
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.progress import Progress
from gateway.catalogs.row_check import Terms
from gateway.catalogs.slice_feeder import SliceFeeder
from gateway.catalogs.turns import Turns, Window
from gateway.settings import CatalogSettings
from shared.contracts import Modality
from shared.db.models import Catalog, CatalogStatus
from shared.db.session import UnitOfWork
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Seconds between two looks for a new catalog while this feeder holds none and hears of none.
IDLE_SECONDS = 0.5
_UNFINISHED_CATALOGS = (
    select(Catalog)
    .where(Catalog.status.in_(UNFINISHED))
    .order_by(Catalog.id)
    # The report may be long and is not needed here.
    .options(defer(Catalog.report))
)


class Feeder:
    """Process the catalogs that no other feeder holds.

    Args:
        unit_of_work: Opens transactions; the jobs' messages leave after the commit.
        files: Opens the uploaded files.
        settings: Slices, windows and limits.
        max_characters: Longest accepted title, and longest accepted description.
        job_lease_seconds: Seconds until the sweeper first examines a job.
        workers: Returns the number of workers of each modality that consume the catalog lane.
            Raises `Unavailable`.
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
        def terms_of(catalog: Catalog) -> Terms:
            return Terms(catalog.model, max_characters, settings.max_rows)

        self._unit_of_work = unit_of_work
        self._interval_seconds = settings.interval_seconds
        self._leases = CatalogLeases(unit_of_work, settings.lease_seconds)
        self._held = HeldCatalogs(unit_of_work, self._leases, files)
        self._checks = UploadChecks(unit_of_work, self._leases, files, self._held, terms_of)
        self._slices = SliceFeeder(
            unit_of_work, self._leases, files, self._held, settings, terms_of, job_lease_seconds
        )
        progress = Progress(unit_of_work, self._leases, files, self._held)
        self._turns = Turns(unit_of_work, Window(settings, workers), self._slices, progress)
        self._hurried = threading.Event()

    def hurry(self) -> None:
        """End the pause before the next look for new catalogs. Safe in any thread."""
        self._hurried.set()

    def run(self, stop: threading.Event) -> None:
        """Feed until `stop` is set, then release unfinished catalogs to other feeders.

        Call `hurry` after `stop.set()` to end the current pause at once.
        """
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
                self._hurried.wait(self._interval_seconds if self._held else IDLE_SECONDS)
            self._hurried.clear()
        self.close()

    def step(self) -> bool:
        """Process every unfinished catalog once; return True if any row was fed.

        Raises:
            Unavailable: The database does not answer; nothing was changed.
        """
        unfinished = self._unfinished()
        self._held.keep_only({catalog.id for catalog in unfinished})
        held = [catalog for catalog in unfinished if self._held.hold(catalog)]
        is_running = CatalogStatus.RUNNING.value
        self._checks.advance([one for one in held if one.status != is_running])
        return self._turns.feed([one for one in held if one.status == is_running]) > 0

    def close(self) -> None:
        """Wait for the running checks, then release every lease and close every file."""
        self._checks.close()
        self._held.close()
        self._slices.close()

    def _unfinished(self) -> Sequence[Catalog]:
        with self._unit_of_work.reading() as session:
            return session.scalars(_UNFINISHED_CATALOGS).all()
