"""Loaded releases of a worker: a new champion beside the old one until that is unused."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from shared import metrics
from shared.contracts import Modality
from shared.errors import ModalityNotInRelease, RayonError, ReleaseUnloadable, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import ChampionReader, ServedReleases
from shared.inference.serving.batcher import Batcher
from shared.inference.serving.loading import Loads
from shared.inference.serving.scorer import Scorer
from shared.memory import return_free_memory
from shared.progress import PROGRESS, late_after
from shared.tracing import span

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

#: Loop that follows the champion, in the heartbeat.
LOOP = "champion"
#: Idle seconds after which a release other than the champion is unloaded.
UNUSED_SECONDS = 300.0


@dataclass
class _Loaded(Generic[Item]):
    #: `None` if the release has no model of this modality.
    batcher: Batcher[Item] | None
    users: int = 0
    last_used: float = field(default_factory=time.monotonic)


class ModelPool(Generic[Item]):
    """Loads releases on demand, and a new champion in advance.

    Args:
        registry: Where releases come from.
        load: Makes a scorer of a release's folder, and warms it up.
        champion: Asked for the champion; by default the registry.
        modality: Names the metrics.
        max_batch: Largest model call, in items.
        max_wait_seconds: How long a request waits for company.
        calls: How many calls of one model run at once.
    """

    def __init__(
        self,
        registry: ServedReleases,
        load: Callable[[Path, ReleaseManifest], Scorer[Item]],
        *,
        champion: ChampionReader | None = None,
        modality: Modality,
        max_batch: int,
        max_wait_seconds: float,
        calls: int = 1,
    ) -> None:
        self._registry = registry
        self._champions: ChampionReader = champion or registry
        self._load = load
        self._modality = modality
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._calls = calls
        self._loaded: dict[str, _Loaded[Item]] = {}
        self._lock = threading.Lock()
        self._load_lock = threading.Lock()
        self._champion: str | None = None
        #: Failed loads of this pool.
        self.loads = Loads(modality.value)

    def score(self, version: str, items: Sequence[Item]) -> NDArray[np.float32]:
        """Score items with one release, loaded first if necessary.

        Returns:
            What the scorer makes of each item, shape `(len(items), classes)`.

        Raises:
            NotFound: The registry has no such version.
            ModalityNotInRelease: The version has no model of this modality.
            ReleaseUnloadable: The version cannot be loaded here for now.
        """
        with self._using(version) as batcher:
            if batcher is None:
                raise ModalityNotInRelease(f"Release {version} has no {self._modality} model")
            with span("score", modality=self._modality.value, release=version, items=len(items)):
                return batcher.submit(items)

    def ready(self) -> tuple[str, ...]:
        """Return the versions that are loaded and ready."""
        with self._lock:
            return tuple(sorted(self._loaded))

    def watch(self, poll_seconds: float) -> None:
        """Follow the champion in a thread until the process ends."""
        PROGRESS.expect(LOOP, late_after(poll_seconds))
        threading.Thread(
            target=self._follow, args=(poll_seconds,), name="releases", daemon=True
        ).start()

    def follow_champion(self) -> None:
        """Load a new champion and unload unused releases."""
        try:
            champion = self._champions.champion()
        except Unavailable as error:
            # Loaded releases keep serving; only a change of champion is delayed.
            log.warning("champion_check_failed", error=str(error))
            return
        if champion is not None and champion != self._champion:
            with self._using(champion):
                self._champion = champion
            log.info("champion_loaded", release=champion)
        self._drop_unused()

    def _follow(self, poll_seconds: float) -> None:
        while True:
            try:
                with PROGRESS.watched(LOOP):
                    self.follow_champion()
            except ReleaseUnloadable:
                # Logged at each try to load it; here it may only rest.
                pass
            except RayonError as error:
                log.error("champion_not_loaded", error=str(error))
            except Exception:
                log.exception("champion_not_loaded")
            time.sleep(poll_seconds)

    @contextmanager
    def _using(self, version: str) -> Iterator[Batcher[Item] | None]:
        loaded = self._acquire(version)
        try:
            yield loaded.batcher
        finally:
            with self._lock:
                loaded.users -= 1
                loaded.last_used = time.monotonic()

    def _acquire(self, version: str) -> _Loaded[Item]:
        with self._lock:
            if version in self._loaded:
                return _used(self._loaded[version])
        self.loads.require_rested(version)
        # Loading takes seconds; loaded versions are served meanwhile.
        with self._load_lock:
            if version not in self._loaded:
                with self.loads.loading(version):
                    batcher = self._open(version)
                with self._lock:
                    self._loaded[version] = _Loaded(batcher)
                metrics.release_in_service.labels(self._modality.value, version).set(1)
            with self._lock:
                return _used(self._loaded[version])

    def _open(self, version: str) -> Batcher[Item] | None:
        started = time.perf_counter()
        folder, manifest = self._registry.folder(version), self._registry.manifest(version)
        if self._modality not in manifest.modalities:
            log.info("release_without_model", release=version, modality=self._modality)
            return None
        scorer = self._load(folder, manifest)
        log.info(
            "release_loaded",
            release=version,
            modality=self._modality,
            seconds=round(time.perf_counter() - started, 3),
        )

        def score(items: Sequence[Item]) -> NDArray[np.float32]:
            metrics.batch_items.labels(self._modality).observe(len(items))
            with metrics.model_seconds.labels(self._modality, version).time():
                return scorer.score(items)

        return Batcher(
            score,
            max_batch=self._max_batch,
            max_wait_seconds=self._max_wait_seconds,
            calls=self._calls,
        )

    def _drop_unused(self) -> None:
        long_ago = time.monotonic() - UNUSED_SECONDS
        with self._lock:
            unused = [
                version
                for version, loaded in self._loaded.items()
                if version != self._champion and not loaded.users and loaded.last_used < long_ago
            ]
            dropped = [(version, self._loaded.pop(version)) for version in unused]
        has_dropped = bool(dropped)
        while dropped:
            self._close(*dropped.pop())
        if has_dropped:
            return_free_memory()

    def _close(self, version: str, loaded: _Loaded[Item]) -> None:
        if loaded.batcher is not None:
            loaded.batcher.close()
        metrics.release_in_service.remove(self._modality.value, version)
        log.info("release_dropped", release=version, modality=self._modality)


def _used(loaded: _Loaded[Item]) -> _Loaded[Item]:
    loaded.users += 1
    return loaded
