"""Decoder processes: an image cannot use more than its CPU time, memory and wall time.

Pillow decodes in C, which no exception interrupts, and a few hundred bytes can ask for seconds and
gigabytes. So images are decoded in processes that the kernel ends at their limits, and that are
replaced. One socket for each process, not a queue that all share: a process that is killed while it
holds the lock of such a queue would stop the others.
"""

import atexit
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
import structlog
from numpy.typing import NDArray

from shared.errors import ImageUnreadable
from shared.inference.preparation.decoder import Reply
from shared.inference.preparation.decoder_process import DecoderEnded, DecoderProcess, Limits
from shared.inference.preparation.image import MAX_PIXELS
from shared.inference.preparation.permits import Permits
from shared.inference.preparation.turns import Turns

log = structlog.get_logger(__name__)

#: Images above this are decoded one at a time, with more memory: with transparency 20 bytes are
#: needed for a pixel.
LARGE_PIXELS = 8_000_000
MEMORY_BYTES = 384 * 2**20
LARGE_MEMORY_BYTES = 1536 * 2**20
#: A decoder never waits, so this only ends one that cannot continue. On a busy machine a second of
#: CPU time takes many seconds.
WALL_SECONDS = 60.0
#: Time after which a message whose user has too many large images at once returns to its queue.
PERMIT_SECONDS = 5.0


def ordinary_limits(processes: int) -> Limits:
    """Return the limits of images of up to `LARGE_PIXELS`."""
    return Limits(processes, LARGE_PIXELS, MEMORY_BYTES, WALL_SECONDS)


def permits_for(threads: int) -> Permits:
    """Return the permits for large images with which one user holds a quarter of the threads."""
    return Permits(max(1, threads // 4), PERMIT_SECONDS)


#: Limits of larger images.
LARGE_LIMITS = Limits(1, MAX_PIXELS, LARGE_MEMORY_BYTES, WALL_SECONDS)


@dataclass(frozen=True)
class Order:
    """An image to decode: its file, and the width and height of the result, in pixels."""

    content: bytes
    size: int
    is_thumbnail: bool = False


class Decoders:
    """Decodes images in processes with limits; a process starts when it is first needed.

    Args:
        ordinary: Limits of the processes that read every image first.
        large: Limits of the processes that decode the images too large for those.
        permits: Limit of the visits of one owner that decode large images; none by default.
    """

    def __init__(
        self, ordinary: Limits, large: Limits = LARGE_LIMITS, permits: Permits | None = None
    ) -> None:
        self._ordinary, self._large = _Pool(ordinary), _Pool(large)
        self._permits = permits

    @contextmanager
    def visit(self, share: str) -> Iterator["Visit"]:
        """Decode several images of one owner; the first large one takes a permit for all."""
        visit = Visit(self, share, self._permits)
        try:
            yield visit
        finally:
            visit.end()

    def prepare(self, content: bytes, size: int, share: str = "") -> NDArray[np.uint8]:
        """Decode an image and resize it for the model; block until that is done.

        Args:
            content: File of the image.
            size: Width and height of the result.
            share: Owner of the image. Owners whose images wait for a process take turns.

        Returns:
            Pixels, shape `(size, size, 3)`, 0 to 255.

        Raises:
            ImageUnreadable: Not an image, broken, too large, or too expensive to decode.
            Unavailable: No process starts.
        """
        with self.visit(share) as visit:
            return visit.prepare(content, size)

    def ask(self, order: Order, share: str, before_large: Callable[[], None]) -> bytes:
        """Decode an image; call `before_large` before waiting for the decoder of large ones."""
        reply, answer = self._ordinary.ask(order, share)
        if reply is Reply.LARGE:
            before_large()
            reply, answer = self._large.ask(order, share)
        if reply is not (Reply.THUMBNAIL if order.is_thumbnail else Reply.PIXELS):
            raise ImageUnreadable(answer.decode(errors="replace"))
        return answer

    def close(self) -> None:
        """End the processes; none may be in use."""
        self._ordinary.close()
        self._large.close()


class Visit:
    """Images of one owner, one after the other; see `Decoders.visit`."""

    def __init__(self, decoders: Decoders, share: str, permits: Permits | None) -> None:
        self._decoders, self._share, self._permits = decoders, share, permits
        self._has_permit = False

    def prepare(self, content: bytes, size: int) -> NDArray[np.uint8]:
        """Decode an image as `Decoders.prepare` does.

        Raises:
            ImageUnreadable: Not an image, broken, too large, or too expensive to decode.
            Unavailable: No process starts, or the owner's permits are taken.
        """
        answer = self._decoders.ask(Order(content, size), self._share, self._take_permit)
        return np.frombuffer(answer, np.uint8).reshape(size, size, 3)

    def thumbnail(self, content: bytes, size: int) -> bytes:
        """Return a thumbnail of an image; see `shared.inference.preparation.image.thumbnail`.

        Raises:
            ImageUnreadable: Not an image, broken, too large, or too expensive to decode.
            Unavailable: No process starts, or the owner's permits are taken.
        """
        order = Order(content, size, is_thumbnail=True)
        return self._decoders.ask(order, self._share, self._take_permit)

    def end(self) -> None:
        """Return the permit."""
        if self._permits and self._has_permit:
            self._permits.give_back(self._share)

    def _take_permit(self) -> None:
        if self._permits and not self._has_permit:
            self._permits.take(self._share)
            self._has_permit = True


@cache
def shared_decoders() -> Decoders:
    """Return the decoders of this process, one for each core."""
    decoders = Decoders(ordinary_limits(os.cpu_count() or 1))
    atexit.register(decoders.close)
    return decoders


def prepare(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode an image with the decoders of this process; see `Decoders.prepare`."""
    return shared_decoders().prepare(content, size)


class _Pool:
    """Decoders with the same limits; one that ends is replaced."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns = Turns(limits.processes)
        self._idle: list[DecoderProcess] = []

    def ask(self, order: Order, share: str) -> tuple[Reply, bytes]:
        """Return the answer to an image, which is `UNREADABLE` if it exceeds a limit."""
        with self._turns.turn(share):
            reply, answer = self._ask(order)
            if reply is Reply.MEMORY:
                # Earlier images or other processes may have used the memory: a new process decides.
                self.close()
                reply, answer = self._ask(order)
        if reply is Reply.MEMORY:
            return _refused(f"{self._limits.memory_bytes // 2**20} MiB of memory", order.content)
        return reply, answer

    def close(self) -> None:
        """End the processes that are idle."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _ask(self, order: Order) -> tuple[Reply, bytes]:
        try:
            with self._decoder() as decoder:
                reply, answer = decoder.ask(order.content, order.size, thumbnail=order.is_thumbnail)
                if reply is Reply.MEMORY:
                    raise DecoderEnded(0)
                return reply, answer
        except TimeoutError:
            return _refused(f"{self._limits.wall_seconds:.0f} s", order.content)
        except DecoderEnded as ended:
            # The kernel sends SIGKILL when memory runs out.
            if ended.signal in (0, signal.SIGKILL):
                return Reply.MEMORY, b""
            is_late = ended.signal == signal.SIGPROF
            return _refused("its CPU time" if is_late else "a decoder that survives", order.content)

    @contextmanager
    def _decoder(self) -> Iterator[DecoderProcess]:
        try:
            decoder = self._idle.pop()
        except IndexError:
            decoder = DecoderProcess(self._limits)
        try:
            yield decoder
        except BaseException:
            decoder.close()
            raise
        self._idle.append(decoder)


def _refused(limit: str, content: bytes) -> tuple[Reply, bytes]:
    log.warning("image_over_limit", limit=limit, image_bytes=len(content))
    reason = f"Expected an image that decodes within {limit}. Received: one that does not"
    return Reply.UNREADABLE, reason.encode()
