"""Thumbnails of images: read from the storage, or requested from the image workers.

The gateway decodes no images. A thumbnail is made when somebody first looks at it, and stored; a
request waits until it is there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from shared.broker import Publisher
from shared.contracts import ImageItem, Lane, MakeThumbnails, thumbnail_uri
from shared.errors import Limited, NotFound, Unavailable
from shared.logs import new_trace_id
from shared.storage import Storage

#: Requests that wait for thumbnails at once in this process: those of one user, and all. A page
#: shows 50 images, and a browser with HTTP/2 asks for all of them at once.
WAITING_OF_USER, WAITING_OF_ALL = 64, 512
#: Longest wait for the image workers, and the first and the longest pause between two looks at the
#: storage, in seconds.
PATIENCE_SECONDS, FIRST_PAUSE_SECONDS, PAUSE_SECONDS = 10.0, 0.01, 0.2
#: `Retry-After` of a refused request.
RETRY_SECONDS = 2


@dataclass(frozen=True)
class Wanted:
    """A thumbnail that a user wants to see; `pixels` limits its width and its height."""

    job_id: str
    image_uri: str
    pixels: int
    user_id: str

    @property
    def uri(self) -> str:
        """Storage URI of the thumbnail."""
        return thumbnail_uri(self.image_uri, self.pixels)


class Thumbnails:
    """Waits for thumbnails; requests for the same one share a message. For the event loop only."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._making: dict[str, asyncio.Task[bytes]] = {}

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return self._waiting.total()

    async def of(self, storage: Storage, publisher: Publisher, wanted: Wanted) -> bytes:
        """Return a thumbnail as WebP, made first if necessary.

        Raises:
            NotFound: The image was deleted or cannot be read.
            Limited: The user waits for too many thumbnails.
            Unavailable: The storage or the queue does not answer, no worker has made it in time, or
                too many requests wait.
        """
        content = await run_in_threadpool(_stored, storage, wanted.uri)
        if content is None:
            with self._counted(wanted.user_id):
                content = await self._made(storage, publisher, wanted)
        if not content:
            raise NotFound(f"No thumbnail of job {wanted.job_id!r}: its image cannot be read")
        return content

    @contextmanager
    def _counted(self, user_id: str) -> Iterator[None]:
        if self._waiting[user_id] >= WAITING_OF_USER:
            raise Limited(
                f"Expected at most {WAITING_OF_USER} requests that wait for a thumbnail. Received: "
                "one more",
                retry_after_seconds=RETRY_SECONDS,
            )
        if self.waiting >= WAITING_OF_ALL:
            raise Unavailable(
                "Too many requests wait for thumbnails", retry_after_seconds=RETRY_SECONDS
            )
        self._waiting[user_id] += 1
        try:
            yield
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    async def _made(self, storage: Storage, publisher: Publisher, wanted: Wanted) -> bytes:
        if wanted.uri not in self._making:
            task = asyncio.create_task(_make(storage, publisher, wanted))
            self._making[wanted.uri] = task
            task.add_done_callback(lambda _: self._making.pop(wanted.uri))
        # Others may wait for it when this request is cancelled.
        return await asyncio.shield(self._making[wanted.uri])


async def _make(storage: Storage, publisher: Publisher, wanted: Wanted) -> bytes:
    """Request a thumbnail and return it once it is stored."""
    if not await run_in_threadpool(storage.has, wanted.image_uri):
        raise NotFound(f"No image of job {wanted.job_id!r}: it was deleted")
    await run_in_threadpool(publisher.publish, _message(wanted))
    loop = asyncio.get_running_loop()
    pause, until = FIRST_PAUSE_SECONDS, loop.time() + PATIENCE_SECONDS
    while loop.time() < until:
        await asyncio.sleep(pause)
        content = await run_in_threadpool(_stored, storage, wanted.uri)
        if content is not None:
            return content
        pause = min(pause * 1.5, PAUSE_SECONDS)
    raise Unavailable(
        f"Expected a thumbnail within {PATIENCE_SECONDS:.0f} s. Received: none; the image workers "
        "are busy or away",
        retry_after_seconds=RETRY_SECONDS,
    )


def _message(wanted: Wanted) -> MakeThumbnails:
    return MakeThumbnails(
        trace_id=new_trace_id(),
        lane=Lane.INTERACTIVE,
        items=(ImageItem(job_id=wanted.job_id, uri=wanted.image_uri),),
        pixels=wanted.pixels,
        user_id=wanted.user_id,
    )


def _stored(storage: Storage, uri: str) -> bytes | None:
    try:
        return storage.get(uri)
    except NotFound:
        return None
