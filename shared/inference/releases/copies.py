"""Local copies of releases: checked at each load, set aside if broken, and fetched again once.

Several processes share the folder. A copy is made beside its place and renamed, under a lock that
the kernel releases when its holder dies.
"""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from shared import metrics
from shared.errors import InvalidInput, NotFound, ReleaseUnloadable, Unavailable
from shared.inference.manifest import MANIFEST
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from shared.inference.releases.rests import Rests

log = structlog.get_logger(__name__)

#: Broken copies that are kept for a look at them; older ones are deleted.
KEPT_BROKEN = 2
#: Longest wait for another process that fetches the same release.
LOCK_SECONDS = 180.0
LOCK_POLL_SECONDS = 0.1

#: Downloads a version into a folder and returns the folder of the release in it.
Fetch = Callable[[str, Path], Path]


class Copies:
    """The releases in a local folder.

    Args:
        root: The folder, shared by the processes of a machine.
        fetch: Downloads a version from the registry. Raises `NotFound`, `Unavailable`.
    """

    def __init__(self, root: Path, fetch: Fetch) -> None:
        self._root = root
        self._fetch = fetch
        self._rests = Rests()
        #: Copies of earlier versions of Rayon that could not be compared with the registry.
        self._unrecorded: set[str] = set()

    def folder(self, version: str, *names: str) -> Path:
        """Return the folder of a version, checked, and fetched if it is missing or broken.

        Args:
            version: Number of the version.
            names: The files to check; all without names.

        Raises:
            NotFound: The registry has no such version.
            ReleaseUnloadable: Neither the local copy nor the registry's is good.
            Unavailable: There is no local copy and the registry does not answer.
        """
        folder = self._root / version
        if self._fault(folder, names) is None:
            return folder
        self._rests.take_turn(version)
        try:
            with self._locked(version):
                # Another process may have mended it meanwhile.
                fault = self._fault(folder, names)
                if fault is not None:
                    self._mend(folder, fault)
        except OSError as error:
            reason = f"Release {version} cannot be written to {self._root}: {error}"
            self._rests.add(version, reason)
            raise ReleaseUnloadable(reason) from error
        except NotFound:
            self._rests.remove(version)
            raise
        except Unavailable as error:
            self._rests.add(version, error.detail)
            raise
        self._rests.remove(version)
        return folder

    def _fault(self, folder: Path, names: tuple[str, ...] = ()) -> str | None:
        """Return what is wrong with a copy, or `None` for a good one."""
        if folder.name in self._unrecorded:
            return None
        if not folder.is_dir():
            return "there is none"
        try:
            recorded = Checksums.read(folder)
        except (InvalidInput, OSError) as error:
            return str(error)
        return f"it has no {CHECKSUMS}" if recorded is None else recorded.fault(folder, names)

    def _mend(self, folder: Path, fault: str) -> None:
        is_here, is_unrecorded = folder.is_dir(), _is_unrecorded(folder)
        if is_here and not is_unrecorded:
            metrics.release_copies_broken_total.labels("local").inc()
            log.error("release_copy_broken", release=folder.name, fault=fault)
        try:
            self._replace(folder)
        except Unavailable as error:
            if is_unrecorded and (folder / MANIFEST).is_file():
                # Copied by an earlier version of Rayon; it serves until the registry answers.
                log.warning("release_copy_unchecked", release=folder.name, error=error.detail)
                self._unrecorded.add(folder.name)
                return
            if not is_here:
                raise
            raise ReleaseUnloadable(
                f"The local copy of release {folder.name} is broken ({fault}) and cannot be "
                f"replaced: {error.detail}"
            ) from error

    def _replace(self, folder: Path) -> None:
        for leftover in self._root.glob(f".{folder.name}-*"):
            # Left by a killed process, because only the holder of the lock downloads.
            shutil.rmtree(leftover, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self._root))
        try:
            copy = self._good_copy(folder.name, aside)
            if _is_unrecorded(folder) and Checksums.of(folder) == Checksums.read(copy):
                (copy / CHECKSUMS).replace(folder / CHECKSUMS)
                return
            if folder.exists():
                self._set_aside(folder)
            copy.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _good_copy(self, version: str, aside: Path) -> Path:
        copy = self._fetch(version, aside)
        if not (copy / MANIFEST).is_file():
            raise self._broken_in_registry(version, f"it has no {MANIFEST}")
        try:
            recorded = Checksums.read(copy)
        except InvalidInput as error:
            raise self._broken_in_registry(version, str(error)) from error
        if recorded is None:
            # Registered before checksums were recorded.
            (copy / CHECKSUMS).write_text(Checksums.of(copy).content, "utf-8")
        elif (fault := recorded.fault(copy)) is not None:
            raise self._broken_in_registry(version, fault)
        return copy

    def _broken_in_registry(self, version: str, fault: str) -> ReleaseUnloadable:
        metrics.release_copies_broken_total.labels("registry").inc()
        return ReleaseUnloadable(f"The registry's copy of release {version} is broken ({fault})")

    def _set_aside(self, folder: Path) -> None:
        folder.rename(self._root / f".broken-{time.time_ns()}-{folder.name}")
        kept = sorted(self._root.glob(".broken-*"))
        for older in kept[:-KEPT_BROKEN]:
            shutil.rmtree(older, ignore_errors=True)

    @contextmanager
    def _locked(self, version: str) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LOCK_SECONDS
        with (self._root / f".{version}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise Unavailable(
                            f"Another process has been fetching release {version} for "
                            f"{LOCK_SECONDS:.0f} s"
                        ) from error
                    time.sleep(LOCK_POLL_SECONDS)
            yield


def _is_unrecorded(folder: Path) -> bool:
    return folder.is_dir() and not (folder / CHECKSUMS).exists()
