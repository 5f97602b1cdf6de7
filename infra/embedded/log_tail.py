"""Warnings and errors of all processes, printed with the process name."""

import json
import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from infra.embedded.terminal import say

#: Interval between two reads of the files.
POLL_SECONDS = 0.3
#: Warnings and errors outside of Rayon's own JSON: Python's levels, Redis' `# ` after the time,
#: supervisord's levels.
WORRYING = re.compile(r"\b(WARN(ING)?|ERROR|CRIT(ICAL)?|FATAL|Traceback)\b")
#: Advice on the machine that Redis gives at every start.
HARMLESS = re.compile(r"Memory overcommit must be enabled|Transparent Huge Pages")
LOUD_LEVELS = frozenset({"warning", "error", "critical"})


class LogTail(threading.Thread):
    """Thread that follows the log files of a folder until it is stopped."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="log-tail", daemon=True)
        self._folder = folder
        self._open: dict[Path, IO[str]] = {}
        self._stopping = threading.Event()
        for path in folder.glob("*.log"):
            self._follow(path, at_end=True)

    def run(self) -> None:
        """Poll the files until stopped."""
        while not self._stopping.wait(POLL_SECONDS):
            for path in self._folder.glob("*.log"):
                # A file that was rotated meanwhile is there again at the next poll.
                with suppress(OSError):
                    self._read(path)
        for file in self._open.values():
            file.close()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()

    def _read(self, path: Path) -> None:
        file = self._open.get(path) or self._follow(path, at_end=False)
        for line in file:
            shown = worrying(line)
            if shown:
                say(f"[{path.stem}] {shown}")
        if _is_rotated(path, file):
            file.close()
            del self._open[path]

    def _follow(self, path: Path, *, at_end: bool) -> IO[str]:
        file = path.open(errors="replace")
        if at_end:
            file.seek(0, 2)
        self._open[path] = file
        return file


def worrying(line: str) -> str | None:
    """Shorten a warning or error for the terminal; return None for other lines."""
    try:
        event = json.loads(line)
    except ValueError:
        is_shown = WORRYING.search(line) and not HARMLESS.search(line)
        return line.rstrip() if is_shown else None
    if not isinstance(event, dict) or event.get("level") not in LOUD_LEVELS:
        return None
    known = ("level", "event", "timestamp", "logger", "service", "exception")
    fields = " ".join(f"{name}={value}" for name, value in event.items() if name not in known)
    return f"{event['level']}: {event.get('event', '')} {fields}".rstrip()


def _is_rotated(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return True
