"""Handler of `MakeThumbnails`."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.contracts import MakeThumbnails, thumbnail_uri
from shared.errors import ImageUnreadable, NotFound

log = structlog.get_logger(__name__)

#: Content of the thumbnail of an image that cannot be read.
UNREADABLE = b""


class Files(Protocol):
    """Part of `shared.storage.Storage` that the handler uses."""

    def has(self, uri: str) -> bool:
        """Return True if something is stored at a URI."""

    def get(self, uri: str) -> bytes:
        """Return the bytes stored at a URI. Raises `NotFound`."""

    def put_at(self, uri: str, content: bytes) -> None:
        """Store bytes at a URI."""


class Visit(Protocol):
    """Part of `shared.inference.preparation.decoders.Visit` that the handler uses."""

    def thumbnail(self, content: bytes, size: int) -> bytes:
        """Return the thumbnail of an image. Raises `ImageUnreadable`, `Unavailable`."""


class Decoders(Protocol):
    """Part of `shared.inference.preparation.decoders.Decoders` that the handler uses."""

    def visit(self, share: str) -> AbstractContextManager[Visit]:
        """Decode several images of one owner."""


@dataclass(frozen=True)
class ThumbnailHandler:
    """Makes thumbnails in the decoders of the worker, and stores them."""

    files: Files
    decoders: Decoders

    def make_thumbnails(self, request: MakeThumbnails) -> None:
        """Make the thumbnails that are missing.

        Raises:
            Unavailable: The storage does not answer, or other messages of the user decode large
                images.
        """
        uris = dict.fromkeys(item.uri for item in request.items)
        with self.decoders.visit(request.user_id) as visit:
            for uri in uris:
                target = thumbnail_uri(uri, request.pixels)
                if not self.files.has(target):
                    self._make(uri, target, request.pixels, visit)

    def _make(self, uri: str, target: str, pixels: int, visit: Visit) -> None:
        try:
            made = visit.thumbnail(self.files.get(uri), pixels)
        except NotFound:
            # The image was deleted meanwhile, and nobody waits for its thumbnail.
            return
        except ImageUnreadable as error:
            log.info("thumbnail_refused", uri=uri, reason=error.detail)
            made = UNREADABLE
        self.files.put_at(target, made)
