"""Runs a command in a process group of its own, captures its output and ends the whole group."""

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
from trainer.runs.limits import Limits, MemoryWatch

log = structlog.get_logger(__name__)

#: Interval at which the command's exit and the caller's `check` are polled.
POLL_SECONDS = 0.2
#: Time limit for a killed process to disappear.
GONE_SECONDS = 10.0
#: Number of output lines kept in memory.
TAIL_LINES = 30
#: Longer lines are redrawn progress bars or raw data; only their end is kept.
LONGEST_LINE = 400


@dataclass(frozen=True)
class CommandRunner:
    """Runs one command at a time in a folder, even across a crash of the service.

    Every process of a command holds the folder's lock. If the lock is still held after the run's
    lease has expired, its holder is an orphan of a dead service and is killed.

    Attributes:
        folder: Folder of the lock file.
        grace_seconds: Time between SIGTERM and SIGKILL.
        limits: What a command may take from other programs.
        tail: Last lines of the commands' output.
    """

    folder: Path
    grace_seconds: float
    limits: Limits = field(default_factory=Limits)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def run(self, command: Sequence[str], log_path: Path, check: Callable[[], None]) -> int:
        """Run a command to its end and return the exit code, negative if a signal ended it.

        Args:
            command: Program and arguments.
            log_path: File that the output is appended to.
            check: Called often; if it raises, the command is ended and the error propagates.

        Raises:
            MemoryExceeded: The command used more memory than its limit, and was ended.
            Unavailable: An orphan of an earlier service cannot be ended.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as lock:
            child = subprocess.Popen(
                self.limits.command(command),
                stdin=subprocess.DEVNULL,
                # Through a pipe: reporting a full disk must not require the disk.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.limits.environment()},
                # Not a session of its own: Linux shares the processor evenly among sessions
                # (`sched_autogroup`), whatever the priorities of their processes.
                process_group=0,
                pass_fds=(lock,),
            )
            os.pwrite(lock, str(child.pid).encode(), 0)
            output = (child.stdout, log_path)
            listener = threading.Thread(target=self._listen, args=output, daemon=True)
            listener.start()
            memory = MemoryWatch(child.pid, self.limits.memory_bytes)
            try:
                while child.poll() is None:
                    check()
                    memory.check()
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(POLL_SECONDS)
            finally:
                self._end(child)
                listener.join(GONE_SECONDS)
        return child.returncode

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take_over(lock)
            # Nobody may read the old holder's process id before the new one is written.
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
            # The log's disk may be full. Unread output would block the command for ever.
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
        # The command may have left child processes running.
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
                raise Unavailable("Another training is using the same folder") from None
        else:
            return
        holder = os.pread(lock, 20, 0)
        if holder.isdigit():
            log.warning("orphaned_training_killed", process=int(holder))
            with suppress(ProcessLookupError):
                os.killpg(int(holder), signal.SIGKILL)
        time.sleep(POLL_SECONDS)
