"""Selection of the release for new jobs: the champion, once the workers have loaded it."""

import threading
import time
from collections.abc import Callable

import structlog

from shared import metrics
from shared.broker import Worker
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.releases.access import ChampionReader
from shared.lifecycle.ledger import last_done
from shared.settings import ReleaseSettings

log = structlog.get_logger(__name__)

#: Stations whose workers load models.
STATIONS = ("text.", "image.")


class ChampionWatch:
    """Follows the champion of the registry.

    New jobs get a new champion only once every worker has announced that it is loaded, so that no
    job waits for a model to load. After a grace time they get it anyway, because a worker may never
    load it.
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
        """Return the version of the release for new jobs.

        Raises:
            Unavailable: No release has been promoted yet.
        """
        if self._current is None:
            raise Unavailable("No release has been promoted yet")
        return self._current

    def start(self) -> None:
        """Start a thread that follows the champion until the process ends."""
        threading.Thread(target=self._follow, name="champion", daemon=True).start()

    def look(self) -> None:
        """Check once for a new champion. Raises `Unavailable`."""
        try:
            champion = self._registry.champion()
        except Unavailable:
            # The promotion ledger names the champion too, so that the gateway starts without a
            # registry.
            champion = self._current or self._last_promoted()
        if champion is None or champion == self._current:
            return
        if self._current is None or self._is_everywhere(champion):
            log.info("champion_switched", release=champion, previous=self._current)
            self._current = champion
            metrics.show(metrics.champion, {(champion,): 1})

    def _follow(self) -> None:
        while True:
            try:
                self.look()
            except RayonError as error:
                log.warning("champion_check_failed", error=str(error))
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
            last = last_done(session)
        return None if last is None else last.version
