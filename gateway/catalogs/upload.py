"""Uploads of catalogs: validated by their beginning, and fingerprinted for idempotent requests."""

import hashlib
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from gateway.catalogs.row_check import require_short_names
from gateway.catalogs.tables.table_format import form_of
from gateway.jobs.schemas import ModelName
from shared.errors import InvalidInput
from shared.storage import PIECE_BYTES


@dataclass(frozen=True)
class Upload:
    """The files and fields of a request; the files are open and at their beginning."""

    name: str
    products: BinaryIO
    images: BinaryIO | None
    model: ModelName
    release: str
    dry_run: bool

    @property
    def size(self) -> int:
        """Bytes of both files."""
        return self.products_size + (_size(self.images) if self.images else 0)

    @property
    def products_size(self) -> int:
        """Bytes of the table."""
        return _size(self.products)


def require_usable(upload: Upload) -> None:
    """Check the columns and the archive that an upload's model needs.

    Raises:
        InvalidInput: A file has the wrong format, or the model needs other columns or an archive.
    """
    form = form_of(upload.products)
    require_short_names(form)
    if upload.model == "image" and upload.images is None:
        raise InvalidInput(
            "Expected a ZIP archive, which `model=image` needs. Received: none", field=("images",)
        )
    if upload.model == "image" and not form.names_images:
        raise InvalidInput(
            "Expected a column `image`, or `imageid` and `productid`, which `model=image` needs. "
            f"Received the columns: {', '.join(form.columns)[:300]}",
            field=("products",),
        )
    if upload.images is not None and not _is_zip(upload.images):
        raise InvalidInput("Expected a ZIP archive. Received: another file", field=("images",))


def fingerprint(upload: Upload) -> str:
    """Return a digest of an upload's fields and files, to recognise repeated requests."""
    content = hashlib.sha256()
    for value in (upload.model, upload.release, str(upload.dry_run)):
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
