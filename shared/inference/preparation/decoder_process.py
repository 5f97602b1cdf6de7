"""One decoder process, as its owner sees it."""

import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from shared.errors import Unavailable
from shared.inference.preparation.decoder import THUMBNAIL, Reply

#: Limit of the time that a process may take to start.
START_SECONDS = 60.0
#: Time in which a process ends that has closed its socket.
END_SECONDS = 5.0
#: Largest answer: pixels of 2,000 x 2,000.
MAX_ANSWER_BYTES = 12_000_001
#: Variables that a decoder may need; it gets no others, because they may hold secrets.
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")


@dataclass(frozen=True)
class Limits:
    """Limits of one kind of decoder.

    Attributes:
        processes: Decoders that run at once.
        pixels: Most pixels of an image; larger ones are for another kind.
        memory_bytes: Address space of a process, of which 41 MB are used without an image.
        wall_seconds: Time of one image.
    """

    processes: int
    pixels: int
    memory_bytes: int
    wall_seconds: float


class DecoderEnded(Exception):
    """A decoder ended before it answered.

    Attributes:
        signal: Number of the signal that ended it, or 0.
    """

    def __init__(self, ended_by: int) -> None:
        super().__init__(f"ended by signal {ended_by}")
        self.signal = ended_by


class DecoderProcess:
    """A running decoder; one thread at a time may use it.

    Raises:
        Unavailable: The process does not start.
    """

    def __init__(self, limits: Limits) -> None:
        self._wall_seconds = limits.wall_seconds
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _start(limits, theirs)
            except OSError as error:
                ours.close()
                raise Unavailable(f"No image decoder starts: {error}") from error
        _limit_waiting(ours, limits.wall_seconds)
        self._connection = Connection(ours.detach())
        self._require_ready()

    def ask(self, content: bytes, size: int, *, thumbnail: bool = False) -> tuple[Reply, bytes]:
        """Return the answer to an image: its pixels or its thumbnail, or why there is none.

        Raises:
            DecoderEnded: The process ended.
            TimeoutError: It took longer than its limit.
        """
        try:
            self._connection.send_bytes((THUMBNAIL if thumbnail else b"") + b"%d" % size)
            self._connection.send_bytes(content)
            reply, answer = self._answer(self._wall_seconds)
            if reply is Reply.PIXELS and len(answer) != 3 * size**2:
                raise ValueError(f"{len(answer)} bytes of pixels")
        except BlockingIOError as error:
            raise TimeoutError from error
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError) as error:
            raise DecoderEnded(self._ended_by()) from error
        return reply, answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _answer(self, seconds: float) -> tuple[Reply, bytes]:
        if not self._connection.poll(seconds):
            raise TimeoutError
        answer = self._connection.recv_bytes(MAX_ANSWER_BYTES)
        return Reply(answer[:1]), answer[1:]

    def _require_ready(self) -> None:
        with suppress(EOFError, OSError):
            if self._answer(START_SECONDS)[0] is Reply.READY:
                return
        self.close()
        raise Unavailable(
            f"No image decoder starts: one ended with {self._process.returncode}; see its errors"
        )

    def _ended_by(self) -> int:
        with suppress(subprocess.TimeoutExpired):
            return max(0, -self._process.wait(END_SECONDS))
        # It runs, but does not answer as a decoder does.
        return signal.SIGABRT


def _start(limits: Limits, theirs: socket.socket) -> subprocess.Popen[bytes]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "shared.inference.preparation.decoder",
            str(limits.pixels),
            str(limits.memory_bytes),
        ],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        env={
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "PYTHONSAFEPATH": "1",
            **inherited,
        },
        # Signals to the group of the worker do not reach it: a worker that stops finishes its
        # messages first. The process ends when its socket closes. It stays in the session, because
        # Linux shares the processor evenly among sessions (`sched_autogroup`): in one of its own it
        # would not yield as the nice value of its worker demands.
        process_group=0,
    )


def _limit_waiting(ours: socket.socket, seconds: float) -> None:
    """Let every read and write of a socket fail after a time, with `BlockingIOError`."""
    whole, part = divmod(seconds, 1)
    timeout = struct.pack("ll", int(whole), int(part * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        ours.setsockopt(socket.SOL_SOCKET, option, timeout)
