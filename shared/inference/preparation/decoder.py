"""Decoder process: reads images from a socket, answers with pixels, and cannot exceed its limits.

    python -m shared.inference.preparation.decoder MOST_PIXELS MEMORY_BYTES

The socket is file descriptor 0. A request is two messages, the size of the result in digits, after
`t` for a thumbnail, and the file of an image; an answer is one byte of `Reply` and its content. The
process ends when the socket closes.
"""

import os
import resource
import signal
import sys
from contextlib import suppress
from enum import Enum
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import AvifImagePlugin

from shared.errors import ImageUnreadable
from shared.inference.preparation.image import (
    FORMATS,
    MAX_PIXELS,
    Declined,
    decode,
    thumbnail,
)

#: CPU seconds for an image: in any case, and for each million pixels. Photos need 0.01 to 0.06 for
#: a million pixels.
CPU_SECONDS = 1.0
CPU_SECONDS_PER_MEGAPIXEL = 0.15
#: A file of fewer bytes for a million pixels counts as a smaller image: only one that is made to be
#: slow, or blank, is that small.
BYTES_PER_MEGAPIXEL = 1_000
#: First byte of a request for a thumbnail.
THUMBNAIL = b"t"
#: Files that Pillow may have open; an image is read from memory.
OPEN_FILES = 32


class Reply(Enum):
    """First byte of an answer."""

    #: The process accepts images.
    READY = b"R"
    #: Pixels follow.
    PIXELS = b"P"
    #: An encoded thumbnail follows.
    THUMBNAIL = b"T"
    #: A reason follows.
    UNREADABLE = b"U"
    #: The image is for a process with more memory.
    LARGE = b"L"
    #: The image needs more memory; the process ends.
    MEMORY = b"M"


def cpu_limit(pixels: int, file_bytes: int) -> float:
    """Return the CPU seconds that an image may use."""
    megapixels = min(pixels / 1e6, file_bytes / BYTES_PER_MEGAPIXEL)
    return CPU_SECONDS + CPU_SECONDS_PER_MEGAPIXEL * megapixels


def main(arguments: list[str]) -> int:
    """Answer until the socket closes; return the exit code."""
    most_pixels, memory_bytes = map(int, arguments)
    _load_plugins()
    _limit(memory_bytes)
    with Connection(0) as connection, suppress(EOFError, ConnectionError):
        connection.send_bytes(Reply.READY.value)
        while True:
            request = connection.recv_bytes()
            reply, content = _answer(connection.recv_bytes(), request, most_pixels)
            connection.send_bytes(reply.value + content)
            if reply is Reply.MEMORY:
                # The rest of the heap may be too small for the next image.
                return 0
    return 0


def _answer(content: bytes, request: bytes, most_pixels: int) -> tuple[Reply, bytes]:
    header: list[int] = []
    size = int(request.removeprefix(THUMBNAIL))
    is_thumbnail = request.startswith(THUMBNAIL)

    def on_pixels(pixels: int) -> None:
        header.append(pixels)
        if pixels > most_pixels:
            raise Declined
        _limit_cpu(cpu_limit(pixels, len(content)))

    _limit_cpu(CPU_SECONDS)
    try:
        if is_thumbnail:
            return Reply.THUMBNAIL, thumbnail(content, size, on_pixels)
        return Reply.PIXELS, decode(content, size, on_pixels)
    except ImageUnreadable as error:
        if not header and content[8:12] == b"WEBP" and most_pixels < MAX_PIXELS:
            # Reading the header of a WebP takes memory for its pixels; without, it seems broken.
            return Reply.LARGE, b""
        return Reply.UNREADABLE, error.detail.encode()
    except Declined:
        return Reply.LARGE, b""
    except MemoryError:
        return Reply.MEMORY, b""
    finally:
        _limit_cpu(0)


def _limit_cpu(seconds: float) -> None:
    # The signal has no handler: it ends the process, also within a decoder written in C.
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit(memory_bytes: int) -> None:
    # When memory runs out, Linux ends this process rather than the worker.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for which, most in limits.items():
        # Some systems refuse a limit; the others still hold.
        with suppress(OSError, ValueError):
            resource.setrlimit(which, (most, most))
    # Libraries report broken images there, as many as somebody sends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _load_plugins() -> None:
    for name in ({*FORMATS} - {"HEIF"}) | {"MPO"}:
        module = {"WEBP": "WebP"}.get(name, name.capitalize())
        import_module(f"PIL.{module}ImagePlugin")
    # Each thread takes memory of its own.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
