"""Uploads of catalogs: validated by their beginning, and fingerprinted for idempotent requests."""

import hashlib
import zipfile
from dataclasses import dataclass, field
from typing import BinaryIO

from gateway.catalogs.products import Columns, names_images, require_table
from gateway.catalogs.row_check import require_short_names
from gateway.jobs.schemas import ModelName
from shared.errors import InvalidInput
from shared.storage import PIECE_BYTES
from shared.tables.columns import shown


@dataclass(frozen=True)
class Upload:
    """The files and fields of a request; the files are open and at their beginning."""

    name: str
    products: BinaryIO
    images: BinaryIO | None
    model: ModelName
    release: str
    dry_run: bool
    #: Column of a field as the sender states it; `None` for none.
    columns: Columns = field(default_factory=dict)
    #: True for a dry run whose files are kept until it is started.
    is_draft: bool = False

    @property
    def size(self) -> int:
        """Bytes of both files."""
        return self.products_size + (_size(self.images) if self.images else 0)

    @property
    def products_size(self) -> int:
        """Bytes of the table."""
        return _size(self.products)


def require_usable(upload: Upload, max_bytes: int) -> None:
    """Check the columns and the archive that an upload's model needs.

    Args:
        upload: The files and fields.
        max_bytes: Largest plain table that a packed one may unpack to.

    Raises:
        InvalidInput: A file has the wrong format, or the model needs other columns or an archive.
    """
    form = require_table(
        upload.products, upload.columns, max_bytes, needs_fields=not upload.is_draft
    )
    if form is not None:
        require_short_names(form)
    if upload.model == "image" and upload.images is None:
        raise InvalidInput(
            "Expected a ZIP archive, which `model=image` needs. Received: none", field=("images",)
        )
    if (
        upload.model == "image"
        and not upload.is_draft
        and form is not None
        and not names_images(form)
    ):
        raise InvalidInput(
            "Expected a column `image`, or `imageid` and `productid`, which `model=image` needs. "
            f"Received the columns: {shown(form.columns)}",
            field=("products",),
        )
    if upload.images is not None and not _is_zip(upload.images):
        raise InvalidInput("Expected a ZIP archive. Received: another file", field=("images",))


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file, to recognise it when it is sent again."""
    content = hashlib.sha256()
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        content.update(piece)
    return content.hexdigest()


def fingerprint(upload: Upload) -> str:
    """Return a digest of an upload's fields and files, to recognise repeated requests."""
    content = hashlib.sha256()
    stated = (
        name if column is None else f"{name}={column}"
        for name, column in sorted(upload.columns.items())
    )
    kind = "draft" if upload.is_draft else str(upload.dry_run)
    for value in (upload.model, upload.release, kind, *stated):
        content.update(len(value).to_bytes(8, "big") + value.encode())
    for file in (upload.products, upload.images):
        content.update((_size(file) if file else 0).to_bytes(8, "big"))
        if file is not None:
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                content.update(piece)
    return content.hexdigest()


def _is_zip(file: BinaryIO) -> bool:
    # Only the end is read here; the feeder reads the list of entries, which may be long.
    file.seek(0)
    return zipfile.is_zipfile(file)


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)
