"""Labels: the true categories of jobs, set by people for one job or in a file for a catalog."""

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
from gateway.quality.label_keys import (
    KEYS,
    NO_JOB,
    PRODUCT,
    ROW,
    by_job,
    by_product,
    by_row,
    rows_by_product,
)
from shared.categories import CategorySet
from shared.db.models import (
    ROW_DIGITS,
    Catalog,
    CatalogStatus,
    Job,
    Review,
    now,
    row_job_id,
)
from shared.db.session import UnitOfWork
from shared.errors import Conflict, InvalidInput, NotFound
from shared.storage import Storage

CODE = "prdtypecode"
#: Rows of a file that are saved in one transaction.
SLICE = 1_000
#: Problems that a report lists; further ones are only counted.
LISTED = 1_000


@dataclass(frozen=True)
class LabelProblem:
    """The reason for rejecting a row of a label file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass
class LabelReport:
    """Number of rows of a label file by outcome, and the first problems.

    Attributes:
        rows: Rows of the file.
        taken: Rows whose label was saved or was known already.
        skipped: Rows without a code, which nobody has labelled yet.
        rejected: Rows with a problem.
        problems: The first problems.
    """

    rows: int = 0
    taken: int = 0
    skipped: int = 0
    rejected: int = 0
    problems: list[LabelProblem] = field(default_factory=list)

    def reject(self, row: Row, column: str | None, value: str, reason: str) -> None:
        """Record the reason for rejecting a row."""
        self.rejected += 1
        if len(self.problems) < LISTED:
            shown = value[:SHOWN_CHARACTERS]
            self.problems.append(LabelProblem(row.number, row.line, column, shown, reason))


def find(session: Session, principal: Principal, job_id: str) -> Job:
    """Return a job to label: one of the user's own or, for operators, one chosen for review.

    Raises:
        NotFound: There is no such job that the user may label.
    """
    job = session.get(Job, job_id)
    is_chosen = principal.is_operator and session.get(Review, job_id) is not None
    return job if job is not None and is_chosen else jobs.find(session, principal, job_id)


def write(job: Job, code: int, username: str, known: CategorySet) -> None:
    """Set a job's true category; an equal label keeps its original author and time.

    Args:
        job: The job.
        code: The code of the category.
        username: The author of the label.
        known: The categories of the job's release.

    Raises:
        InvalidInput: The release does not have the code.
    """
    if code not in known:
        raise InvalidInput(
            f"Expected a code of release {job.release}. Received: {code}", field=(CODE,)
        )
    if job.label != code:
        job.label, job.labelled_at, job.labelled_by = code, now(), username


def forget(job: Job) -> None:
    """Remove a wrong label."""
    job.label = job.labelled_at = job.labelled_by = None


@dataclass(frozen=True)
class LabelFiles:
    """Save the labels of a catalog's rows: valid ones are stored, the others reported."""

    unit_of_work: UnitOfWork
    storage: Storage

    def take(
        self, catalog: Catalog, file: BinaryIO, username: str, known: CategorySet
    ) -> LabelReport:
        """Save a file of labels, slice by slice; repeating it changes nothing.

        Args:
            catalog: The labelled catalog.
            file: A table with `prdtypecode`, and `row`, `productid` or `job_id`.
            username: The author of the labels.
            known: The categories of the catalog's release.

        Raises:
            InvalidInput: The file lacks the columns.
            Conflict: The catalog has no jobs.
            Unavailable: The database or the storage does not answer; slices saved before are kept.
        """
        _require_jobs(catalog)
        form = table_form(file, (*KEYS, CODE), "labels")
        key, row_number = self._key(catalog, form)
        report = LabelReport()
        labels = _read(rows_of(file, form), row_number, key, known, report)
        while batch := list(islice(labels, SLICE)):
            self._keep(catalog, batch, key, username, report)
        return report

    def _key(self, catalog: Catalog, form: Form) -> tuple[str, Callable[[str], int]]:
        """Return the column that identifies the row, and a function from its cell to the row."""
        names = {column.strip().casefold() for column in form.columns}
        key = next((column for column in KEYS if column in names), None)
        if key is None or CODE not in names:
            shown = ", ".join(form.columns)[:300]
            raise InvalidInput(
                f"Expected the column `{CODE}`, and one of {', '.join(f'`{key}`' for key in KEYS)}"
                f". Received the columns: {shown}",
                field=("labels",),
            )
        if key == PRODUCT:
            return key, by_product(self._products(catalog))
        return key, by_row(catalog.rows) if key == ROW else by_job(catalog)

    def _products(self, catalog: Catalog) -> dict[str, list[int]]:
        """Return the row numbers of each `productid` of a catalog."""
        try:
            with self.storage.open(f"{folder_of(catalog.id)}/{PRODUCTS}") as products:
                return rows_by_product(products, form_kept(products, catalog.report))
        except NotFound as error:
            raise Conflict(
                f"The catalog's file has been deleted, so its `{PRODUCT}` column is unknown; "
                f"identify rows by `{ROW}`"
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
            # A label that is already set keeps its time, because a training counts new labels.
            labels = {
                ids[number]: code
                for _, number, code in batch
                if ids[number] in there and there[ids[number]] != code
            }
            if labels:
                author = {"labelled_at": now(), "labelled_by": username}
                work.session.execute(
                    update(Job),
                    [{"id": id_, "label": code, **author} for id_, code in labels.items()],
                )
        for row, number, _ in batch:
            if ids[number] in there:
                report.taken += 1
            else:
                report.reject(row, key, _cell(row, key), NO_JOB.format(number))


def _read(
    rows: Iterator[Row],
    row_number: Callable[[str], int],
    key: str,
    known: CategorySet,
    report: LabelReport,
) -> Iterator[tuple[Row, int, int]]:
    """Yield the valid labels (file row, catalog row, code), and report the other rows."""
    codes: dict[int, int] = {}
    for row in rows:
        report.rows += 1
        if row.problem is not None:
            report.reject(row, row.problem.column, row.problem.value, row.problem.reason)
            continue
        if not (shown := _cell(row, CODE)):
            report.skipped += 1
            continue
        try:
            number = row_number(_cell(row, key))
        except InvalidInput as error:
            report.reject(row, key, _cell(row, key), error.detail)
            continue
        code = int(shown) if shown.isdecimal() and len(shown) < ROW_DIGITS * 2 else None
        if code is None or code not in known:
            reason = f"Expected a code of the catalog's release. Received: {shown[:40]!r}"
            report.reject(row, CODE, shown, reason)
        elif codes.setdefault(number, code) != code:
            reason = f"Expected one label for row {number}. Received: {codes[number]} before"
            report.reject(row, CODE, shown, reason)
        else:
            yield row, number, code


def _cell(row: Row, name: str) -> str:
    # Rows of JSON Lines may have different keys, so the column is looked up in each.
    found = (cell for column, cell in row.cells.items() if column.strip().casefold() == name)
    return next(found, "").strip()


def _require_jobs(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no answers to label")
    if catalog.status == CatalogStatus.VALIDATING.value or not catalog.report:
        raise Conflict(f"The catalog has no answers: it is {catalog.status}")
