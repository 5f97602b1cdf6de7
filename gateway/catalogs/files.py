"""Open a catalog's files on this machine."""

import io
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.row_check import Finding, Terms, inspect
from gateway.catalogs.service import ERRORS, IMAGES, PRODUCTS, folder_of
from shared.db.models import Catalog
from shared.errors import NotFound
from shared.storage import Storage


@dataclass(frozen=True)
class CatalogFiles:
    """Open the files of catalogs; files in an object store are copied to a temporary folder.

    Attributes:
        storage: Holds the uploaded files.
        max_image_bytes: Size above which an image of an archive is refused.
    """

    storage: Storage
    max_image_bytes: int

    def products(self, catalog: Catalog, files: ExitStack) -> BinaryIO:
        """Open the table until `files` is closed.

        Raises:
            NotFound: The file has been deleted.
            Unavailable: The storage does not answer, or the local disk is full.
        """
        return self._open(f"{folder_of(catalog.id)}/{PRODUCTS}", files)

    def archive(self, catalog: Catalog, files: ExitStack) -> Archive | None:
        """Open the image archive until `files` is closed; return `None` if there is none.

        Raises:
            InvalidInput: The file is not a ZIP archive, or exceeds a limit.
            NotFound: The file has been deleted.
            Unavailable: The storage does not answer, or the local disk is full.
        """
        if not catalog.has_images:
            return None
        file = self._open(f"{folder_of(catalog.id)}/{IMAGES}", files)
        return Archive(file, max_image_bytes=self.max_image_bytes)

    def inspect(self, catalog: Catalog, terms: Terms) -> Finding:
        """Check every row, and store the list of rejected rows.

        Raises:
            InvalidInput: The catalog as a whole cannot be used.
            NotFound: A file has been deleted.
            Unavailable: The storage does not answer, or a disk is full.
        """
        with ExitStack() as files:
            products, archive = self.products(catalog, files), self.archive(catalog, files)
            kept = files.enter_context(tempfile.TemporaryFile())
            errors = io.TextIOWrapper(kept, encoding="utf-8", newline="")
            finding = inspect(products, archive, terms, errors)
            errors.detach()
            kept.seek(0)
            self.storage.put_stream(f"{folder_of(catalog.id)}/{ERRORS}", kept)
        return finding

    def remove_images(self, catalog_id: str) -> None:
        """Remove the archive; the images of jobs are stored separately, by their content.

        Raises:
            Unavailable: The storage does not answer.
        """
        self.storage.remove(f"{folder_of(catalog_id)}/{IMAGES}")

    def _open(self, uri: str, files: ExitStack) -> BinaryIO:
        path = self.storage.local(uri)
        if path is None:
            path = Path(files.enter_context(tempfile.TemporaryDirectory())) / "file"
            self.storage.copy_to(uri, path)
        try:
            return files.enter_context(path.open("rb"))
        except FileNotFoundError as error:
            raise NotFound(f"Nothing is stored at {uri!r}") from error
