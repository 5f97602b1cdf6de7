"""Results of a catalog: the uploaded rows, each followed by the columns of its answer."""

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import structlog
from sqlalchemy import RowMapping, select

from gateway.catalogs.output.acceptance import Acceptance
from gateway.catalogs.output.answer_columns import Reasons, answer_names, answer_of
from gateway.catalogs.output.result_files import Page, csv_pieces, json_pieces, workbook_pieces
from gateway.catalogs.products import form_in, product_rows
from gateway.catalogs.repair.changed_rows import changed
from gateway.catalogs.repair.queued import repairs_between
from gateway.catalogs.service import ERRORS, folder_of, is_checked, table_of
from shared.categories import Category
from shared.db.models import Catalog, CatalogRowRepair, CatalogStatus, Job, row_job_id, row_of_job
from shared.db.session import UnitOfWork
from shared.errors import Conflict, NotFound
from shared.storage import Storage
from shared.tables.form import Form
from shared.tables.pages import next_page
from shared.tables.rows import Row

log = structlog.get_logger(__name__)

Kind = Literal["csv", "jsonl", "xlsx"]
_COLUMNS = (
    Job.id,
    Job.status,
    Job.prdtypecode,
    Job.confidence,
    Job.is_foreign,
    Job.result,
    Job.error_code,
    Job.error_message,
    Job.label,
)


@dataclass(frozen=True)
class Extras:
    """Columns that are added on request.

    Attributes:
        acceptance: Thresholds for the column `accepted`; `None` for no such column.
        categories: Categories by code for the columns `label` and `label_category`; `None` for no
            such columns.
    """

    acceptance: Acceptance | None = None
    categories: Mapping[int, Category] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        accepted = () if self.acceptance is None else ("accepted",)
        return (*accepted, *(() if self.categories is None else ("label", "label_category")))

    def of(self, job: RowMapping | None) -> dict[str, Any]:
        """Return the columns of a row with this job."""
        if job is None:
            return {}
        found: dict[str, Any] = {}
        if self.acceptance is not None and job["confidence"] is not None:
            values = job["prdtypecode"], job["confidence"], job["label"], job["is_foreign"]
            found["accepted"] = self.acceptance.accepts(*values)
        if self.categories is not None and (label := job["label"]) is not None:
            category = self.categories.get(label)
            found |= {"label": label, "label_category": category.name if category else str(label)}
        return found


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Results:
    """Write results page by page, so that memory does not grow with the number of rows."""

    unit_of_work: UnitOfWork
    storage: Storage

    def write(
        self,
        catalog: Catalog,
        kind: Kind,
        *,
        raw: bool,
        has_bom: bool | None = None,
        extras: Extras = NO_EXTRAS,
    ) -> Iterator[bytes]:
        """Return the file of results in pieces.

        Args:
            catalog: A checked catalog.
            kind: The format.
            raw: Return cells as uploaded, including those that a spreadsheet runs as formulas.
            has_bom: True for CSV with a byte order mark; `None` to add it where the upload needed
                one or was not in UTF-8.
            extras: Columns to add after all others.

        Raises:
            Conflict: There are no results: the catalog is being checked, was refused, or is a dry
                run.
            InvalidInput: The format cannot hold so many rows.
            NotFound: The uploaded file has been deleted.
            Unavailable: The storage does not answer.
        """
        _require_results(catalog)
        file = self.storage.open(table_of(catalog.id, catalog.report))
        form = form_in(file, catalog.report)
        names = answer_names(form.columns, extras.columns)
        pages = self._pages(catalog, file, form, extras)
        if kind == "jsonl":
            return json_pieces(pages, form, names)
        if kind == "xlsx":
            return workbook_pieces(pages, form, names, catalog.rows)
        has_mark = form.needs_bom if has_bom is None else has_bom
        return csv_pieces(pages, form, names, raw=raw, has_bom=has_mark)

    def _pages(
        self, catalog: Catalog, file: BinaryIO, form: Form, extras: Extras
    ) -> Iterator[Page]:
        with ExitStack() as files:
            files.enter_context(file)
            reasons = self._reasons(catalog, files)
            rows = product_rows(file, form)
            count = 0
            while page := next_page(rows):
                count += len(page)
                jobs = self._jobs(catalog.id, page[0].number, page[-1].number)
                repairs = self._repairs(catalog, page[0].number, page[-1].number)
                yield [
                    _answered(row, jobs, repairs, catalog, form, reasons.of(row.number), extras)
                    for row in page
                ]
        if count != catalog.rows:
            # Every row of the check is in the results or the errors.
            log.error("result_rows_differ", catalog=catalog.id, rows=count, expected=catalog.rows)
            raise Conflict(f"Expected {catalog.rows} rows. Received: {count} from the stored table")

    def _reasons(self, catalog: Catalog, files: ExitStack) -> Reasons:
        try:
            errors = files.enter_context(self.storage.open(f"{folder_of(catalog.id)}/{ERRORS}"))
        except NotFound:
            return Reasons(io.StringIO())
        return Reasons(io.TextIOWrapper(errors, encoding="utf-8", newline=""))

    def _jobs(self, catalog_id: str, first: int, last: int) -> Mapping[int, RowMapping]:
        ids = row_job_id(catalog_id, first), row_job_id(catalog_id, last)
        query = select(*_COLUMNS).where(Job.id.between(*ids), Job.catalog_id == catalog_id)
        with self.unit_of_work.reading() as session:
            return {row_of_job(row["id"]): row for row in session.execute(query).mappings()}

    def _repairs(self, catalog: Catalog, first: int, last: int) -> Mapping[int, CatalogRowRepair]:
        with self.unit_of_work.reading() as session:
            return repairs_between(session, catalog, first, last)


def _answered(
    row: Row,
    jobs: Mapping[int, RowMapping],
    repairs: Mapping[int, CatalogRowRepair],
    catalog: Catalog,
    form: Form,
    reason: str | None,
    extras: Extras,
) -> tuple[Row, Mapping[str, Any]]:
    """Return a row as it was run, and its answer."""
    job, repair = jobs.get(row.number), repairs.get(row.number)
    if repair is not None:
        # An existing job has answered the row without the changes that still wait.
        waiting = repair.cells if job is None else {}
        row = changed(row, form, repair.joined_cells if repair.is_joined else waiting)
    return row, answer_of(row, job, catalog, reason, repair) | extras.of(job)


def _require_results(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no results; `/errors` lists its rejected rows")
    if catalog.status == CatalogStatus.VALIDATING.value:
        raise Conflict("The catalog is still being checked")
    if not is_checked(catalog):
        raise Conflict(f"The catalog has no results: {catalog.error_message or catalog.status}")
