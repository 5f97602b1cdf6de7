"""The answers of a catalog: the uploaded rows, each with the columns of its answer."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from sqlalchemy import RowMapping, select

from gateway.catalogs.product_file import Form, Row, form_kept, rows_of
from gateway.catalogs.row_check import safe_cell
from gateway.catalogs.service import PRODUCTS, UNFINISHED, folder_of
from shared.db.models import Catalog, CatalogStatus, Job, JobStatus, row_job_id, row_of_job
from shared.db.session import UnitOfWork
from shared.errors import Conflict
from shared.storage import Storage

#: What is added to the uploaded columns; with `rayon_` before it where a column has that name.
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
#: Rows read from the database at once, fewer where they are long.
PAGE = 1_000
PAGE_CHARACTERS = 8_000_000
#: Of a CSV file, sent at once: a row has a cell for each column, however short it came.
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
    """Reads results, a page of rows at a time, however many there are."""

    unit_of_work: UnitOfWork
    storage: Storage

    def write(
        self, catalog: Catalog, kind: Literal["csv", "jsonl"], *, raw: bool
    ) -> Iterator[bytes]:
        """Make the file of results, piece by piece.

        Args:
            catalog: Whose rows are known.
            kind: The format.
            raw: Leave cells as they were sent that a spreadsheet would run as formulas.

        Raises:
            Conflict: There are none: the catalog is being checked, was refused, or a dry run.
            NotFound: The uploaded file is gone.
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
            while page := _page(rows):
                jobs = self._jobs(catalog.id, page[0].number, page[-1].number)
                yield [(row, _answer(row, jobs.get(row.number), catalog)) for row in page]

    def _jobs(self, catalog_id: str, first: int, last: int) -> Mapping[int, RowMapping]:
        ids = row_job_id(catalog_id, first), row_job_id(catalog_id, last)
        query = select(*_COLUMNS).where(Job.id.between(*ids), Job.catalog_id == catalog_id)
        with self.unit_of_work.reading() as session:
            return {row_of_job(row["id"]): row for row in session.execute(query).mappings()}


def _page(rows: Iterator[Row]) -> list[Row]:
    found: list[Row] = []
    characters = 0
    for row in rows:
        found.append(row)
        characters += sum(map(len, row.cells.values()))
        if len(found) >= PAGE or characters >= PAGE_CHARACTERS:
            break
    return found


def answer_names(columns: Iterable[str]) -> dict[str, str]:
    """What the answer's columns are called beside the uploaded ones."""
    taken = {column.strip().casefold() for column in columns}
    return {name: f"rayon_{name}" if name in taken else name for name in ANSWER_COLUMNS}


def _require_results(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no results; its `/errors` are the rejected rows")
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
            f"{one['prdtypecode']}:{one['probability']}" for one in result["top"][:3]
        ),
        "modalities": " ".join(
            f"{modality}={one['prdtypecode']}:{one['confidence']}"
            for modality, one in result["modalities"].items()
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
    # A file that began with the mark of UTF-8 was written for a spreadsheet, which needs it again.
    text.write("\ufeff" if form.has_bom else "")
    table = csv.writer(text, delimiter=form.delimiter or ",")
    table.writerow([*form.columns, *names.values()])
    cell = str if raw else safe_cell
    for page in pages:
        for row, answer in page:
            uploaded = [cell(value) for value in row.values_of(form)]
            missing = [""] * (len(form.columns) - len(uploaded))
            table.writerow([*uploaded, *missing, *(answer.get(name) for name in names)])
            if text.tell() > PIECE_CHARACTERS:
                yield _taken_from(text)
        yield _taken_from(text)
    yield _taken_from(text)


def _taken_from(text: io.StringIO) -> bytes:
    content = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return content


def _json_lines(
    pages: Iterable[list[tuple[Row, dict[str, Any]]]], names: Mapping[str, str]
) -> Iterator[bytes]:
    for page in pages:
        lines = (
            {**row.cells, **{shown: answer.get(name) for name, shown in names.items()}}
            for row, answer in page
        )
        yield "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
