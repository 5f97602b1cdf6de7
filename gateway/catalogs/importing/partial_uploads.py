"""Files that arrive in pieces, so that an upload goes on after a lost connection.

The storage alone keeps the state: a folder for each file, with its announced name and size and one
object for each piece, whose name begins with its offset. A piece that was sent twice is stored
twice and read once, so no lock is needed. Semantics: draft-ietf-httpbis-resumable-upload-10.
"""

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any, BinaryIO

import structlog

from gateway.identity.principal import Principal
from shared.db.models import first_id_of, new_id, now
from shared.errors import Conflict, InvalidInput, Limited, NotFound, RayonError
from shared.storage import PIECE_BYTES, Storage, StoredFile

log = structlog.get_logger(__name__)

#: Folder of all files that arrive in pieces, by user.
PARTS = "parts"
ANNOUNCED = "announced.json"
#: Time after which a file that no catalog has taken is deleted.
KEPT = timedelta(days=1)
#: Files of one user at once, and `Retry-After` beyond it, in seconds.
MOST_FILES, WAIT_SECONDS = 10, 60
#: Most pieces of a file, so that tiny pieces do not fill the storage with objects.
MOST_PIECES = 20_000


@dataclass(frozen=True)
class PartialFile:
    """A file that arrives in pieces.

    Attributes:
        id: ID of the upload.
        name: Name of the file, as its sender announced it.
        size: Announced size in bytes.
        pieces: Stored pieces in order, each beginning where the one before ends.
        expires_at: Time after which it is deleted.
    """

    id: str
    name: str
    size: int
    pieces: tuple[StoredFile, ...]
    expires_at: datetime

    @property
    def offset(self) -> int:
        """Number of bytes that have arrived."""
        return sum(piece.size for piece in self.pieces)

    def require_next(self, offset: int, size: int) -> None:
        """Check that a piece begins where the stored ones end, and fits.

        Raises:
            Conflict: The piece begins elsewhere.
            InvalidInput: The file would be larger than announced, or has too many pieces.
        """
        if offset != self.offset:
            raise Conflict(f"Expected the offset {self.offset}. Received: {offset}")
        if offset + size > self.size:
            raise InvalidInput(
                f"Expected at most {self.size} bytes, as announced. Received: {offset + size}"
            )
        if len(self.pieces) >= MOST_PIECES:
            raise InvalidInput(f"Expected at most {MOST_PIECES} pieces. Received: more")


@dataclass(frozen=True)
class PartialUploads:
    """Stores files that arrive in pieces."""

    storage: Storage

    def create(self, principal: Principal, name: str, size: int) -> PartialFile:
        """Announce a file.

        Raises:
            Limited: The user has too many files whose upload has not ended.
            Unavailable: The storage does not answer.
        """
        if len(self.storage.folders(_folder(principal))) >= MOST_FILES:
            raise Limited(
                f"Expected at most {MOST_FILES} uploads in pieces at once. Received: one more",
                retry_after_seconds=WAIT_SECONDS,
            )
        id_ = new_id()
        values = {"name": PurePath(name).name[:255] or "file", "size": size}
        self.storage.put_at(_folder(principal, id_, ANNOUNCED), json.dumps(values).encode())
        return self.find(principal, id_)

    def announced_bytes(self, principal: Principal) -> int:
        """Return the announced sizes of the user's files together. Raises `Unavailable`."""
        total = 0
        for uri in self.storage.folders(_folder(principal)):
            # A piece that arrives while its upload is deleted leaves a folder without announcement.
            with suppress(NotFound):
                total += self._announced(principal, uri.rpartition("/")[2])["size"]
        return total

    def find(self, principal: Principal, upload_id: str) -> PartialFile:
        """Return a file. Raises `NotFound`, also if it belongs to another user."""
        id_ = _canonical(upload_id)
        values = self._announced(principal, id_)
        pieces = tuple(_in_order(self.storage.files(_folder(principal, id_))))
        return PartialFile(id_, values["name"], values["size"], pieces, _created_at(id_) + KEPT)

    def append(
        self, principal: Principal, upload_id: str, offset: int, piece: BinaryIO, size: int
    ) -> PartialFile:
        """Store a piece, which begins where the stored ones end.

        Args:
            principal: The owner.
            upload_id: The file.
            offset: Number of the piece's first byte, from 0.
            piece: The piece, from its beginning.
            size: Its size in bytes.

        Raises:
            NotFound: The user has no such upload.
            Conflict: The piece begins elsewhere.
            InvalidInput: The file would be larger than announced, or has too many pieces.
            Unavailable: The storage does not answer.
        """
        found = self.find(principal, upload_id)
        found.require_next(offset, size)
        if size:
            name = f"{offset:016d}-{new_id()}"
            self.storage.put_stream(_folder(principal, found.id, name), piece)
        return self.find(principal, found.id)

    def open(self, principal: Principal, upload_id: str, files: ExitStack) -> tuple[str, BinaryIO]:
        """Return the name and the content of a complete file, which lasts until `files` is closed.

        Raises:
            NotFound: The user has no such upload.
            Conflict: The file is not complete.
            Unavailable: The storage does not answer, or the local disk is full.
        """
        found = self.find(principal, upload_id)
        if found.offset != found.size:
            raise Conflict(
                f"Expected an upload of {found.size} bytes that is complete. Received: one with "
                f"{found.offset}"
            )
        whole = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        for piece in found.pieces:
            with self.storage.open(piece.uri) as part:
                while content := part.read(PIECE_BYTES):
                    whole.write(content)
        whole.seek(0)
        return found.name, whole

    def remove(self, principal: Principal, upload_id: str) -> None:
        """Delete a file. Raises `NotFound` or `Unavailable`."""
        found = self.find(principal, upload_id)
        self.storage.remove_folder(_folder(principal, found.id))

    def forget(self, principal: Principal, upload_id: str) -> None:
        """Delete a file, best effort: it expires anyway."""
        try:
            self.remove(principal, upload_id)
        except RayonError as error:
            log.warning("upload_not_removed", upload=upload_id, error=error.detail)

    def expired(self) -> Iterator[str]:
        """Iterate over the folders of files that have expired. Raises `Unavailable`."""
        before = first_id_of(now() - KEPT)
        for user in self.storage.folders(PARTS):
            for folder in self.storage.folders(user):
                if folder.rpartition("/")[2] < before:
                    yield folder

    def _announced(self, principal: Principal, upload_id: str) -> dict[str, Any]:
        try:
            content = self.storage.get(_folder(principal, upload_id, ANNOUNCED))
        except NotFound as error:
            raise NotFound(f"No upload {upload_id!r}") from error
        values: dict[str, Any] = json.loads(content)
        return values


def _canonical(upload_id: str) -> str:
    """Return the one spelling of an ID, which names its folder. Raises `NotFound`."""
    try:
        return str(uuid.UUID(upload_id))
    except ValueError as error:
        raise NotFound(f"No upload {upload_id!r}") from error


def _folder(principal: Principal, *below: str) -> str:
    return "/".join((PARTS, principal.id, *below))


def _in_order(files: list[StoredFile]) -> Iterator[StoredFile]:
    """Yield the pieces that follow one another from the beginning."""
    offset = 0
    for file in sorted(files, key=lambda one: one.uri):
        begin = file.uri.rpartition("/")[2].partition("-")[0]
        if begin.isdecimal() and int(begin) == offset and file.size:
            yield file
            offset += file.size


def _created_at(upload_id: str) -> datetime:
    # The first 48 bits of a UUIDv7 are its time in milliseconds.
    milliseconds = uuid.UUID(upload_id).int >> 80
    return datetime.fromtimestamp(milliseconds / 1000, now().tzinfo)
