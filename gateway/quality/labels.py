"""Labels: the true categories of jobs, from people; one job at a time, or a file for a catalog."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gateway.catalogs.service import PRODUCTS, folder_of
from gateway.catalogs.tables.product_file import SHOWN_CHARACTERS, Row, rows_of
from gateway.catalogs.tables.table_format import Form, form_kept, table_form
from gateway.identity.principal import Principal
from gateway.jobs import service as jobs
from shared.categories import CategorySet
from shared.db.models import (
    ROW_DIGITS,
    Catalog,
    CatalogStatus,
    Job,
    Review,
    now,
    row_job_id,
    row_of_job,
)
from shared.db.session import UnitOfWork
from shared.errors import Conflict, InvalidInput, NotFound
from shared.storage import Storage

CODE = "prdtypecode"
#: By which of these columns a label's row is found; the first one that is there counts.
JOB, ROW, PRODUCT = "job_id", "row", "productid"
_KEYS = (JOB, ROW, PRODUCT)
#: Rows of a file that are taken in one transaction.
SLICE = 1_000
#: Problems that a report lists; all are counted.
LISTED = 1_000
#: A longer cell is no `productid`: all of a catalog's are held in memory.
PRODUCT_CHARACTERS = 255
_NO_JOB = "Expected a row of the catalog that is a job. Received: row {}"


@dataclass(frozen=True)
class LabelProblem:
    """Why a row of a label file was not taken."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass
class LabelReport:
    """What became of the rows of a label file.

    Attributes:
        skipped: Rows without a code: nobody has looked at them yet.
    """

    rows: int = 0
    taken: int = 0
    skipped: int = 0
    rejected: int = 0
    problems: list[LabelProblem] = field(default_factory=list)

    def reject(self, row: Row, column: str | None, value: str, reason: str) -> None:
        """Note why a row was not taken."""
        self.rejected += 1
        if len(self.problems) < LISTED:
            shown = value[:SHOWN_CHARACTERS]
            self.problems.append(LabelProblem(row.number, row.line, column, shown, reason))


def find(session: Session, principal: Principal, job_id: str) -> Job:
    """Look up a job to label it: one's own, or for operators one that was chosen for review.

    Raises:
        NotFound: There is none that this person may label.
    """
    job = session.get(Job, job_id)
    is_chosen = principal.is_operator and session.get(Review, job_id) is not None
    return job if job is not None and is_chosen else jobs.find(session, principal, job_id)


def write(job: Job, code: int, username: str, known: CategorySet) -> None:
    """Keep a job's true category; one that is known already stays as it was said first.

    Args:
        job: Whose it is.
        code: The category.
        username: Who says so.
        known: The categories of the job's release.

    Raises:
        InvalidInput: The release does not know the code.
    """
    if code not in known:
        raise InvalidInput(
            f"Expected a code that release {job.release} knows. Received: {code}", field=(CODE,)
        )
    if job.label != code:
        job.label, job.labelled_at, job.labelled_by = code, now(), username


def forget(job: Job) -> None:
    """Take a wrong label back."""
    job.label = job.labelled_at = job.labelled_by = None


@dataclass(frozen=True)
class LabelFiles:
    """Takes labels of a catalog's rows: valid ones are kept, the others told of."""

    unit_of_work: UnitOfWork
    storage: Storage

    def take(
        self, catalog: Catalog, file: BinaryIO, username: str, known: CategorySet
    ) -> LabelReport:
        """Read a file of labels, slice by slice; taking it twice changes nothing.

        Args:
            catalog: Whose rows are labelled.
            file: A table with `prdtypecode`, and `row`, `productid` or `job_id`.
            username: Who says so.
            known: The categories of the catalog's release.

        Raises:
            InvalidInput: The file has none of the columns.
            Conflict: The catalog has no jobs.
            Unavailable: Database or storage do not answer; what was taken before is kept.
        """
        _require_jobs(catalog)
        form = table_form(file, (*_KEYS, CODE), "labels")
        key, reading = self._reading(catalog, form)
        report = LabelReport()
        said: dict[int, int] = {}
        labels = _read(rows_of(file, form), reading, key, known, said, report)
        while batch := list(islice(labels, SLICE)):
            self._keep(catalog, batch, key, username, report)
        return report

    def _reading(self, catalog: Catalog, form: Form) -> tuple[str, Callable[[str], int]]:
        """The column that tells the row, and how a cell of it is read."""
        names = {column.strip().casefold() for column in form.columns}
        key = next((one for one in _KEYS if one in names), None)
        if key is None or CODE not in names:
            shown = ", ".join(form.columns)[:300]
            raise InvalidInput(
                f"Expected the column `{CODE}`, and one of {', '.join(f'`{one}`' for one in _KEYS)}"
                f". Received the columns: {shown}",
                field=("labels",),
            )
        if key == PRODUCT:
            return key, _by_product(self._products(catalog))
        return key, _by_row(catalog.rows) if key == ROW else _by_job(catalog)

    def _products(self, catalog: Catalog) -> dict[str, list[int]]:
        """The rows of each `productid` of a catalog."""
        try:
            with self.storage.open(f"{folder_of(catalog.id)}/{PRODUCTS}") as products:
                return _rows_by_product(products, form_kept(products, catalog.report))
        except NotFound as error:
            raise Conflict(
                f"The catalog's file is gone, and with it each `{PRODUCT}`; "
                f"name its rows by `{ROW}`"
            ) from error

    def _keep(
        self,
        catalog: Catalog,
        batch: Sequence[tuple[Row, int, int]],
        key: str,
        username: str,
        report: LabelReport,
    ) -> None:
        ids = {number: row_job_id(catalog.id, number) for _, number, _ in batch}
        with self.unit_of_work() as work:
            query = select(Job.id, Job.label).where(
                Job.id.in_(ids.values()), Job.catalog_id == catalog.id
            )
            there = {row.id: row.label for row in work.session.execute(query)}
            # What is known already is no new label: a training takes in the new ones.
            labels = {
                ids[number]: code
                for _, number, code in batch
                if ids[number] in there and there[ids[number]] != code
            }
            if labels:
                same = {"labelled_at": now(), "labelled_by": username}
                work.session.execute(
                    update(Job),
                    [{"id": id_, "label": code, **same} for id_, code in labels.items()],
                )
        for row, number, _ in batch:
            if ids[number] in there:
                report.taken += 1
            else:
                report.reject(row, key, _cell(row, key), _NO_JOB.format(number))


def _rows_by_product(products: BinaryIO, form: Form) -> dict[str, list[int]]:
    column = next((one for one in form.columns if one.strip().casefold() == PRODUCT), None)
    if column is None:
        raise InvalidInput(
            f"The catalog has no column `{PRODUCT}`; name its rows by `{ROW}`", field=("labels",)
        )
    found: dict[str, list[int]] = {}
    for row in rows_of(products, form):
        product = row.cells.get(column, "").strip()
        if len(product) <= PRODUCT_CHARACTERS:
            found.setdefault(product, []).append(row.number)
    return found


def _read(
    rows: Iterator[Row],
    reading: Callable[[str], int],
    key: str,
    known: CategorySet,
    said: dict[int, int],
    report: LabelReport,
) -> Iterator[tuple[Row, int, int]]:
    """The labels of a file: its row, the catalog's row, the code; what is wrong is noted."""
    for row in rows:
        report.rows += 1
        if row.problem is not None:
            report.reject(row, row.problem.column, row.problem.value, row.problem.reason)
            continue
        if not (shown := _cell(row, CODE)):
            report.skipped += 1
            continue
        try:
            number = reading(_cell(row, key))
        except InvalidInput as error:
            report.reject(row, key, _cell(row, key), error.detail)
            continue
        code = int(shown) if shown.isdecimal() and len(shown) < ROW_DIGITS * 2 else None
        if code is None or code not in known:
            reason = f"Expected a code that the catalog's release knows. Received: {shown[:40]!r}"
            report.reject(row, CODE, shown, reason)
        elif said.setdefault(number, code) != code:
            reason = f"Expected one label for row {number}. Received: {said[number]} before"
            report.reject(row, CODE, shown, reason)
        else:
            yield row, number, code


def _cell(row: Row, name: str) -> str:
    # Of JSON Lines each row has keys of its own.
    found = (cell for column, cell in row.cells.items() if column.strip().casefold() == name)
    return next(found, "").strip()


def _by_row(rows: int) -> Callable[[str], int]:
    def read(cell: str) -> int:
        if not cell.isdecimal() or not 0 < (number := int(cell[:20])) < 16**ROW_DIGITS:
            raise InvalidInput(f"Expected a row's number, from 1. Received: {cell[:40]!r}")
        return _existing(number, rows)

    return read


def _existing(number: int, rows: int) -> int:
    # Each row that is labelled is remembered, so there must not be more than the catalog has.
    if number > rows:
        raise InvalidInput(_NO_JOB.format(number))
    return number


def _by_job(catalog: Catalog) -> Callable[[str], int]:
    def read(cell: str) -> int:
        try:
            number = row_of_job(cell)
        except ValueError:
            number = 0
        if number and row_job_id(catalog.id, number) == cell:
            return _existing(number, catalog.rows)
        raise InvalidInput(f"Expected a job of this catalog. Received: {cell[:40]!r}")

    return read


def _by_product(products: dict[str, list[int]]) -> Callable[[str], int]:
    def read(cell: str) -> int:
        numbers = products.get(cell, [])
        if len(numbers) != 1:
            found = f"{len(numbers)} rows with" if numbers else "no row with"
            raise InvalidInput(f"Expected a product of one row. Received: {found} {cell[:40]!r}")
        return numbers[0]

    return read


def _require_jobs(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no answers, so there is nothing to label")
    if catalog.status == CatalogStatus.VALIDATING.value or not catalog.report:
        raise Conflict(f"The catalog has no answers: it is {catalog.status}")
