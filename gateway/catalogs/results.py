"""Results of a catalog: the uploaded rows, each followed by the columns of its answer."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from sqlalchemy import RowMapping, select

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.row_pages import next_page
from gateway.catalogs.safe_cells import safe_cell
from gateway.catalogs.service import PRODUCTS, folder_of
from gateway.catalogs.tables.product_file import Row, rows_of
from gateway.catalogs.tables.table_format import Form, form_kept
from shared.db.models import Catalog, CatalogStatus, Job, JobStatus, row_job_id, row_of_job
from shared.db.session import UnitOfWork
from shared.errors import Conflict
from shared.storage import Storage

#: Columns appended to the uploaded ones; a name that is taken gets the prefix `rayon_`.
ANSWER_COLUMNS = (
    "prdtypecode",
    "category",
    "confidence",
    "top_3",
    "modalities",
    "degraded",
    "status",
    "error_code",
)
#: Characters that are sent at once: a short row of a wide table gets many empty cells as CSV, and
#: all column names as JSON Lines.
PIECE_CHARACTERS = 1_000_000
_COLUMNS = (
    Job.id,
    Job.status,
    Job.prdtypecode,
    Job.confidence,
    Job.result,
    Job.error_code,
)


@dataclass(frozen=True)
class Results:
    """Write results page by page, so that memory does not grow with the number of rows."""

    unit_of_work: UnitOfWork
    storage: Storage

    def write(
        self, catalog: Catalog, kind: Literal["csv", "jsonl"], *, raw: bool
    ) -> Iterator[bytes]:
        """Return the file of results in pieces.

        Args:
            catalog: A checked catalog.
            kind: The format.
            raw: Return cells as uploaded, including those that a spreadsheet runs as formulas.

        Raises:
            Conflict: There are no results: the catalog is being checked, was refused, or is a dry
                run.
            NotFound: The uploaded file has been deleted.
            Unavailable: The storage does not answer.
        """
        _require_results(catalog)
        file = self.storage.open(f"{folder_of(catalog.id)}/{PRODUCTS}")
        form = form_kept(file, catalog.report)
        names = answer_names(form.columns)
        pages = self._pages(catalog, file, form)
        if kind == "jsonl":
            return _json_lines(pages, names)
        return _csv_lines(pages, form, names, raw=raw)

    def _pages(
        self, catalog: Catalog, file: BinaryIO, form: Form
    ) -> Iterator[list[tuple[Row, dict[str, Any]]]]:
        with file:
            rows = rows_of(file, form)
            while page := next_page(rows):
                jobs = self._jobs(catalog.id, page[0].number, page[-1].number)
                yield [(row, _answer(row, jobs.get(row.number), catalog)) for row in page]

    def _jobs(self, catalog_id: str, first: int, last: int) -> Mapping[int, RowMapping]:
        ids = row_job_id(catalog_id, first), row_job_id(catalog_id, last)
        query = select(*_COLUMNS).where(Job.id.between(*ids), Job.catalog_id == catalog_id)
        with self.unit_of_work.reading() as session:
            return {row_of_job(row["id"]): row for row in session.execute(query).mappings()}


def answer_names(columns: Iterable[str]) -> dict[str, str]:
    """Return the name of each answer column beside the uploaded columns."""
    taken = {column.strip().casefold() for column in columns}
    return {name: f"rayon_{name}" if name in taken else name for name in ANSWER_COLUMNS}


def _require_results(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no results; `/errors` lists its rejected rows")
    if catalog.status == CatalogStatus.VALIDATING.value:
        raise Conflict("The catalog is still being checked")
    if not catalog.report:
        raise Conflict(f"The catalog has no results: {catalog.error_message or catalog.status}")


def _answer(row: Row, job: RowMapping | None, catalog: Catalog) -> dict[str, Any]:
    if job is None:
        return {"status": _without_job(row, catalog)}
    answer = {"status": job["status"], "error_code": job["error_code"]}
    if job["status"] != JobStatus.DONE.value:
        return answer
    result: dict[str, Any] = job["result"]
    return answer | {
        "prdtypecode": job["prdtypecode"],
        "category": result["category"],
        "confidence": job["confidence"],
        "top_3": " ".join(
            f"{guess['prdtypecode']}:{guess['probability']}" for guess in result["top"][:3]
        ),
        "modalities": " ".join(
            f"{modality}={guess['prdtypecode']}:{guess['confidence']}"
            for modality, guess in result["modalities"].items()
        ),
        "degraded": result["degraded"],
    }


def _without_job(row: Row, catalog: Catalog) -> str:
    if row.number <= catalog.fed_until:
        return "rejected"
    return "queued" if catalog.status in UNFINISHED else "cancelled"


def _csv_lines(
    pages: Iterable[list[tuple[Row, dict[str, Any]]]],
    form: Form,
    names: Mapping[str, str],
    *,
    raw: bool,
) -> Iterator[bytes]:
    text = io.StringIO()
    # A file with a byte order mark comes from a spreadsheet, which needs the mark to detect UTF-8.
    text.write("\ufeff" if form.has_bom else "")
    table = csv.writer(text, delimiter=form.delimiter or ",")
    cell = str if raw else safe_cell
    table.writerow(map(cell, [*form.columns, *names.values()]))
    for page in pages:
        for row, answer in page:
            uploaded = [cell(value) for value in row.values_of(form)]
            missing = [""] * (len(form.columns) - len(uploaded))
            answered = (answer.get(name) for name in names)
            shown = (cell(one) if isinstance(one, str) else one for one in answered)
            table.writerow([*uploaded, *missing, *shown])
            if text.tell() > PIECE_CHARACTERS:
                yield _drain(text)
        yield _drain(text)
    yield _drain(text)


def _drain(text: io.StringIO) -> bytes:
    """Return the text written so far, and empty the buffer."""
    content = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return content


def _json_lines(
    pages: Iterable[list[tuple[Row, dict[str, Any]]]], names: Mapping[str, str]
) -> Iterator[bytes]:
    text = io.StringIO()
    for page in pages:
        for row, answer in page:
            shown = {column: answer.get(name) for name, column in names.items()}
            text.write(json.dumps({**row.cells, **shown}, ensure_ascii=False) + "\n")
            if text.tell() > PIECE_CHARACTERS:
                yield _drain(text)
        yield _drain(text)
