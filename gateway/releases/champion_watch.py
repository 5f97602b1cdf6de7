"""Selection of the release for new jobs: the champion, once the workers have loaded it."""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import select

from shared import metrics
from shared.broker import Worker
from shared.db.models import Promotion
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.releases.access import ChampionReader
from shared.settings import ReleaseSettings

log = structlog.get_logger(__name__)

#: Stations whose workers load models.
STATIONS = ("text.", "image.")


class ChampionWatch:
    """Follows the champion of the registry.

    A new champion is given to jobs only when every worker announced it as loaded, so that nobody
    waits for a model to load; or after a grace time, should a worker never get there.
    """

    def __init__(
        self,
        registry: ChampionReader,
        workers: Callable[[], list[Worker]],
        unit_of_work: UnitOfWork,
        settings: ReleaseSettings,
    ) -> None:
        self._registry = registry
        self._workers = workers
        self._unit_of_work = unit_of_work
        self._settings = settings
        self._current: str | None = None
        self._seen: tuple[str, float] | None = None

    def current(self) -> str:
        """Return the version for a new job. Raises `Unavailable` before the first promotion."""
        if self._current is None:
            raise Unavailable("No release has been promoted yet")
        return self._current

    def start(self) -> None:
        """Follow the champion in a thread until the process ends."""
        threading.Thread(target=self._follow, name="champion", daemon=True).start()

    def look(self) -> None:
        """Check for a new champion once. Raises `Unavailable`."""
        try:
            champion = self._registry.champion()
        except Unavailable:
            # The promotion ledger also names the champion, so a restart needs no registry.
            champion = self._current or self._last_promoted()
        if champion is None or champion == self._current:
            return
        if self._current is None or self._is_everywhere(champion):
            log.info("champion_taken", release=champion, previous=self._current)
            self._current = champion
            metrics.show(metrics.champion, {(champion,): 1})

    def _follow(self) -> None:
        while True:
            try:
                self.look()
            except RayonError as error:
                log.warning("champion_unknown", error=str(error))
            time.sleep(self._settings.poll_seconds)

    def _is_everywhere(self, champion: str) -> bool:
        if self._seen is None or self._seen[0] != champion:
            self._seen = (champion, time.monotonic())
        if time.monotonic() - self._seen[1] > self._settings.switch_grace_seconds:
            return True
        with_models = [
            worker
            for worker in self._workers()
            if any(queue.startswith(STATIONS) for queue in worker.queues)
        ]
        return all(champion in worker.releases for worker in with_models)

    def _last_promoted(self) -> str | None:
        with self._unit_of_work.reading() as session:
            newest = select(Promotion.version).order_by(Promotion.id.desc()).limit(1)
            return session.scalar(newest)
