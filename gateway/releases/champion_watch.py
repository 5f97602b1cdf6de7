"""Selection of the release for new jobs: the champion, once the workers have loaded it."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from shared import metrics
from shared.broker import Worker, unloadable_everywhere
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.releases.access import ChampionReader
from shared.lifecycle.ledger import last_done, served_before
from shared.progress import PROGRESS, late_after
from shared.settings import ReleaseSettings

log = structlog.get_logger(__name__)

#: Name of the loop in the heartbeat.
LOOP = "champion"
#: Stations whose workers load models.
STATIONS = ("text.", "image.")
#: Longest wait of a promotion for the workers, and the interval between looks at them.
ADOPT_SECONDS, LOOK_SECONDS = 30.0, 0.1


class ChampionWatch:
    """Follows the champion of the registry.

    New jobs get a new champion only once every worker has announced that it is loaded, so that no
    job waits for a model to load. After a grace time they get it anyway, because a worker may never
    load it; but never while no worker of a queue can load it.

    A promotion through this gateway waits for the switch (`adopt`). Other gateways switch at their
    next look, at most `poll_seconds` and one call of the registry later.
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
        #: The last champion that no worker could load, which is logged once.
        self._refused: str | None = None
        self._lock = threading.Lock()
        #: Number of promotions through this gateway; an answer of the registry to a question from
        #: before the last one is out of date.
        self._promotions = 0

    def current(self) -> str:
        """Return the version of the release for new jobs.

        Raises:
            Unavailable: No release has been promoted yet.
        """
        if self._current is None:
            raise Unavailable("No release has been promoted yet")
        return self._current

    def is_current(self, version: str) -> bool:
        """Return True if new jobs get this release."""
        return version == self._current

    def start(self) -> None:
        """Start a thread that follows the champion until the process ends."""
        PROGRESS.expect(LOOP, late_after(self._settings.poll_seconds))
        threading.Thread(target=self._follow, name="champion", daemon=True).start()

    def look(self) -> None:
        """Check once for a new champion. Raises `Unavailable`."""
        promotions = self._promotions
        try:
            champion = self._registry.champion()
        except Unavailable:
            # The promotion ledger names the champion too, so that the gateway starts without a
            # registry.
            champion = self._current or self._last_promoted()
        with self._lock:
            if promotions == self._promotions and champion is not None:
                self._follow_to(champion)

    def adopt(self, champion: str) -> bool:
        """Wait until new jobs get a release that was just promoted; return True if they do.

        The wait is as long as the grace time, but at most 30 seconds; then jobs get the release
        although it is not loaded everywhere. It ends early, and without a switch, once no worker of
        a queue can load it.
        """
        deadline = time.monotonic() + min(ADOPT_SECONDS, self._settings.switch_grace_seconds)
        with self._lock:
            self._promotions += 1
            promotion = self._promotions
        while True:
            is_late = time.monotonic() >= deadline
            with self._lock:
                if promotion != self._promotions or self._is_adopted(champion, is_late=is_late):
                    return self._current == champion
            if is_late or self._refused == champion:
                return False
            time.sleep(LOOK_SECONDS)

    def _is_adopted(self, champion: str, *, is_late: bool) -> bool:
        with suppress(Unavailable):
            self._follow_to(champion, is_late=is_late)
        return self._current == champion

    def _follow_to(self, champion: str, *, is_late: bool = False) -> None:
        if champion == self._current:
            return
        if self._current is None:
            self._switch(self._first(champion))
        elif self._is_everywhere(champion, is_late=is_late):
            self._switch(champion)

    def _switch(self, release: str) -> None:
        log.info("champion_switched", release=release, previous=self._current)
        self._current = release
        metrics.show(metrics.champion, {(release,): 1})

    def _first(self, champion: str) -> str:
        """Return the champion, or the release that served before it if no worker can load it."""
        try:
            unloadable = unloadable_everywhere(self._workers())
        except Unavailable:
            return champion
        if champion not in unloadable:
            return champion
        with self._unit_of_work.reading() as session:
            before = served_before(session, champion)
        return champion if before is None or before in unloadable else before

    def _follow(self) -> None:
        while True:
            try:
                with PROGRESS.watched(LOOP):
                    self.look()
            except RayonError as error:
                log.warning("champion_check_failed", error=str(error))
            except Exception:
                # The thread must not end: new jobs would keep an old champion for good.
                log.exception("champion_check_failed")
            time.sleep(self._settings.poll_seconds)

    def _is_everywhere(self, champion: str, *, is_late: bool) -> bool:
        if self._seen is None or self._seen[0] != champion:
            self._seen = (champion, time.monotonic())
        is_late |= time.monotonic() - self._seen[1] > self._settings.switch_grace_seconds
        workers = self._workers_if_known(is_late=is_late)
        if champion in unloadable_everywhere(workers):
            if self._refused != champion:
                self._refused = champion
                log.error("champion_not_loadable", release=champion, current=self._current)
            return False
        self._refused = None
        with_models = [
            worker
            for worker in workers
            if any(queue.startswith(STATIONS) for queue in worker.queues)
        ]
        return is_late or all(champion in worker.releases for worker in with_models)

    def _workers_if_known(self, *, is_late: bool) -> list[Worker]:
        try:
            return self._workers()
        except Unavailable:
            if is_late:
                return []
            raise

    def _last_promoted(self) -> str | None:
        with self._unit_of_work.reading() as session:
            last = last_done(session)
        return None if last is None else last.version
