"""A command in a process group of its own: watched, heard, and ended with all that it started."""

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: How often the end of the command, and a reason to end it, are looked for.
LOOK_SECONDS = 0.2
#: A process that was killed is gone within this time.
GONE_SECONDS = 10.0
#: Lines of a command's output that are remembered.
TAIL_LINES = 30
#: A line longer than this is a bar that draws over itself, or data.
LONGEST_LINE = 400


@dataclass(frozen=True)
class Workbench:
    """Runs commands in a folder, one at a time, also across a crash of the service.

    Every process of a command holds the folder's lock. Who finds it held, after the lease of the
    run has run out, finds what a dead service left behind, and ends it.

    Attributes:
        folder: Where the lock lies.
        grace_seconds: Between asking a command to end and making it.
        tail: The last lines that commands said.
    """

    folder: Path
    grace_seconds: float
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def run(self, command: Sequence[str], log_path: Path, check: Callable[[], None]) -> int:
        """Run a command to its end; returns the exit code, negative if a signal ended it.

        Args:
            command: Program and arguments.
            log_path: Its output is added here.
            check: Called often; if it raises, the command is ended and the error passed on.

        Raises:
            Unavailable: What an earlier service left behind cannot be ended.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone() as lock:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                # Through a pipe: what a command says of a full disk must not need the disk.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                pass_fds=(lock,),
            )
            os.pwrite(lock, str(child.pid).encode(), 0)
            heard = (child.stdout, log_path)
            listener = threading.Thread(target=self._listen, args=heard, daemon=True)
            listener.start()
            try:
                while child.poll() is None:
                    check()
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(LOOK_SECONDS)
            finally:
                self._end(child)
                listener.join(GONE_SECONDS)
        return child.returncode

    @contextmanager
    def _alone(self) -> Iterator[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take_over(lock)
            # Until the new holder's number stands here, nobody must read the old one's.
            os.ftruncate(lock, 0)
            yield lock
        finally:
            os.close(lock)

    def _listen(self, output: IO[bytes], log_path: Path) -> None:
        with output:
            with suppress(OSError), log_path.open("ab", buffering=0) as kept:
                for line in output:
                    self._remember(line)
                    kept.write(line)
            # The log's disk may be full. Unheard, the command would wait for a reader for ever.
            for line in output:
                self._remember(line)

    def _remember(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self.tail.append(text[-LONGEST_LINE:])

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(self.grace_seconds)
        # What the command itself started, and did not end.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _take_over(lock: int) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable("Another training works in the same folder") from None
        else:
            return
        holder = os.pread(lock, 20, 0)
        if holder.isdigit():
            log.warning("training_left_behind", process=int(holder))
            with suppress(ProcessLookupError):
                os.killpg(int(holder), signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
