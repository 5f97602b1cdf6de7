"""Open a catalog's files on this machine."""

import io
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.importing.samples import header_digest, sample_of
from gateway.catalogs.inspection import Finding, inspect
from gateway.catalogs.products import TABLE, Columns, detected_form, product_form
from gateway.catalogs.repair.rejected_rows import REJECTED, line_of
from gateway.catalogs.row_check import Terms
from gateway.catalogs.service import (
    ERRORS,
    IMAGES,
    PLAIN,
    PRODUCTS,
    SAMPLE,
    folder_of,
    table_of,
)
from shared.db.models import Catalog
from shared.errors import NotFound
from shared.storage import Storage
from shared.tables.form import Form
from shared.tables.unpack import unpack

#: Returns the columns that the user stated for the newest table with a header.
Recall = Callable[[str], Columns]


@dataclass(frozen=True)
class CatalogFiles:
    """Open the files of catalogs; files in an object store are copied to a temporary folder.

    Attributes:
        storage: Holds the uploaded files.
        max_image_bytes: Size above which an image of an archive is refused.
        max_bytes: Size above which an unpacked table is refused.
    """

    storage: Storage
    max_image_bytes: int
    max_bytes: int

    def products(self, catalog: Catalog, report: Mapping[str, Any], files: ExitStack) -> BinaryIO:
        """Open the table of a checked catalog, as plain text, until `files` is closed.

        Raises:
            NotFound: The file has been deleted.
            Unavailable: The storage does not answer, or the local disk is full.
        """
        return self._open(table_of(catalog.id, report), files)

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

    def inspect(
        self, catalog: Catalog, report: Mapping[str, Any], terms: Terms, recall: Recall
    ) -> Finding:
        """Check every row, and store the list of rejected rows and the unpacked table.

        Of a draft, its header and first rows are stored too, even if its columns are of no use.

        Args:
            catalog: An uploaded catalog.
            report: The report of the upload: the columns that the sender has stated.
            terms: Requirements on the rows.
            recall: Returns the columns that the user stated for an earlier table with a header.

        Raises:
            InvalidInput: The catalog as a whole cannot be used.
            NotFound: A file has been deleted.
            Unavailable: The storage does not answer, or a disk is full.
        """
        with ExitStack() as files:
            sent = self._open(f"{folder_of(catalog.id)}/{PRODUCTS}", files)
            products = unpack(sent, files, max_bytes=self.max_bytes, table=TABLE)
            if catalog.kept_until is not None:
                report = self._sampled(catalog, report, products, recall)
            form = product_form(products, report.get("given", {}))
            archive = self.archive(catalog, files)
            finding = self._checked(catalog, products, form, archive, terms)
            if products is not sent:
                products.seek(0)
                self.storage.put_stream(f"{folder_of(catalog.id)}/{PLAIN}", products)
        unpacked = {"is_unpacked": products is not sent}
        header = header_digest(form) if report.get("given") else None
        return replace(finding, report={**report, **finding.report, **unpacked}, header=header)

    def _sampled(
        self, catalog: Catalog, report: Mapping[str, Any], products: BinaryIO, recall: Recall
    ) -> Mapping[str, Any]:
        """Store the sample of a draft, and return its report with the columns to use."""
        form = detected_form(products, report.get("given", {}))
        recalled = {} if "given" in report else recall(header_digest(form))
        if recalled:
            report = {**report, "given": dict(recalled)}
            form = detected_form(products, recalled)
        sample = sample_of(products, form, is_remembered=bool(recalled))
        self.storage.put_at(f"{folder_of(catalog.id)}/{SAMPLE}", sample)
        return report

    def _checked(
        self,
        catalog: Catalog,
        products: BinaryIO,
        form: Form,
        archive: Archive | None,
        terms: Terms,
    ) -> Finding:
        """Check every row, and store the rejected ones: for people, and for their repair."""
        with tempfile.TemporaryFile() as kept, tempfile.TemporaryFile() as rejected:
            errors = io.TextIOWrapper(kept, encoding="utf-8", newline="")
            finding = inspect(
                products,
                form,
                archive,
                terms,
                errors,
                lambda found: rejected.write(line_of(found).encode()),
            )
            errors.detach()
            for name, file in ((ERRORS, kept), (REJECTED, rejected)):
                file.seek(0)
                self.storage.put_stream(f"{folder_of(catalog.id)}/{name}", file)
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
