"""The champion, as the processes of one machine ask for it: one asks MLflow for all of them.

Each answer costs the registry's server some 9 ms of CPU time, most of what an idle system used when
five processes asked every three seconds.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from shared.inference.releases.access import ChampionReader
from shared.settings import ReleaseSettings

#: File with the version of the champion, in the folder that the processes share; empty without one.
FILE = "champion"


class SharedChampion:
    """The champion, at most `poll_seconds` and one call of the registry old.

    A move of the alias by a process with the same folder is seen at once.

    Args:
        registry: Asked when no process has asked of late.
        settings: The folder, and the age up to which an answer counts.
    """

    def __init__(self, registry: ChampionReader, settings: ReleaseSettings) -> None:
        self._registry = registry
        self._file = settings.cache / FILE
        self._seconds = settings.poll_seconds

    def champion(self) -> str | None:
        """Return the version that serves, or `None` before the first promotion.

        Raises:
            Unavailable: MLflow does not answer.
        """
        # A clock that was set back makes an answer too young, not valid for hours.
        written_at = _written_at(self._file)
        if written_at is not None and 0 <= time.time() - written_at < self._seconds:
            with suppress(OSError):
                return self._file.read_text("utf-8") or None
        with suppress(OSError):
            # Meanwhile the last answer counts for the other processes.
            os.utime(self._file)
        before = _written_at(self._file)
        champion = self._registry.champion()
        # Without a folder that can be written, each process asks for itself.
        with suppress(OSError):
            # Another answer is younger, or the alias was moved after the question.
            if _written_at(self._file) == before:
                self._write(champion or "")
        return champion

    def _write(self, champion: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may write at once.
        temporary = self._file.with_name(f".{FILE}-{os.getpid()}")
        temporary.write_text(champion, "utf-8")
        temporary.replace(self._file)


def forget_champion(settings: ReleaseSettings) -> None:
    """Let all processes of this machine ask anew, because the alias was moved."""
    with suppress(OSError):
        (settings.cache / FILE).unlink(missing_ok=True)


def _written_at(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None
