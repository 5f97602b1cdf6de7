"""Labels: the true categories of jobs, set by people for one job or in a file for a catalog."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gateway.catalogs.products import form_in, product_rows
from gateway.catalogs.service import is_checked, table_of
from gateway.identity.principal import Principal
from gateway.jobs import service as jobs
from gateway.quality.label_effects import Effect, effect_of, trusted_among
from gateway.quality.label_keys import (
    JOB,
    LABEL_NAMES,
    NO_JOB,
    PRODUCT,
    ROW,
    ProductRows,
    by_job,
    by_row,
    products_of,
    require_products,
)
from gateway.quality.label_reading import CODES, LabelReader, key_of, named_code, written_label
from gateway.quality.label_report import LabelReport
from gateway.quality.schemas.labels import LabelIn
from shared.categories import CategorySet
from shared.db.models import (
    Catalog,
    CatalogStatus,
    Job,
    Review,
    now,
    row_job_id,
)
from shared.db.session import UnitOfWork
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound
from shared.storage import Storage
from shared.tables.dataset_tables import CATEGORY, CODE
from shared.tables.form import form_of
from shared.tables.pages import next_page
from shared.tables.rows import SHOWN_CHARACTERS, Row, rows_of
from shared.tables.unpack import unpack

#: Reason why a label stays.
KEPT = "A reviewer has set another label, which you cannot change"
#: Largest plain table that an uploaded file may unpack to.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024


def find(session: Session, principal: Principal, job_id: str) -> Job:
    """Return a job to label: one of the user's own or, for operators, one chosen for review.

    Raises:
        NotFound: There is no such job that the user may label.
    """
    job = session.get(Job, job_id)
    is_chosen = principal.is_operator and session.get(Review, job_id) is not None
    return job if job is not None and is_chosen else jobs.find(session, principal, job_id)


def write(
    session: Session,
    job: Job,
    code: int,
    author: Principal,
    known: CategorySet,
    *,
    is_new: bool = False,
) -> None:
    """Set a job's true category; an equal label keeps its original author and time.

    Equal labels of trusted authors replace those of others, which do not train.

    Args:
        session: The session of the job.
        job: The job.
        code: The code of the category.
        author: The author of the label.
        known: The categories of the job's release.
        is_new: True if the category may be one that the release does not have.

    Raises:
        InvalidInput: The release does not have the code.
        Conflict: A trusted author has set another label, and this author is not trusted.
    """
    if code not in known and not is_new:
        raise InvalidInput(
            f"Expected a code of release {job.release}. Received: {code}", field=(CODE,)
        )
    if _is_replaced(session, job, code, author):
        job.label, job.labelled_at = code, now()
        job.labelled_by, job.labelled_by_id = author.username, author.id


def require_may_add_categories(principal: Principal) -> None:
    """Check that a principal may label with new categories. Raises `Forbidden`."""
    if not principal.is_operator:
        raise Forbidden("Only operators and admins add categories")


def code_of(true: LabelIn, known: CategorySet) -> int:
    """Return the code of the category that a person states by its code or its name.

    Args:
        true: The label, which is not `is_removed`.
        known: The categories of the job's release.

    Raises:
        InvalidInput: The release has no such category, code and name are of different ones, or the
            code of a new category cannot be stored.
    """
    if true.new_category:
        return _new_code(true)
    if true.category is None:
        # `write` checks the code.
        return true.prdtypecode or 0
    code = named_code(true.category, known)
    if code is None or true.prdtypecode not in (None, code):
        wanted = "a category of the release" if code is None else f"the category {code}"
        other = "" if code is None else f" as {true.prdtypecode}"
        raise InvalidInput(
            f"Expected {wanted}. Received: {true.category[:SHOWN_CHARACTERS]!r}{other}",
            field=(CATEGORY,),
        )
    return code


def _new_code(true: LabelIn) -> int:
    """Return the code of a category that the release need not have. Raises `InvalidInput`."""
    code = true.prdtypecode
    if code is None or true.category is not None or not 0 <= code < CODES:
        received = true.category if true.category is not None else code
        raise InvalidInput(
            f"Expected only the code of the new category, from 0 to {CODES - 1}. "
            f"Received: {str(received)[:SHOWN_CHARACTERS]!r}",
            field=(CODE,),
        )
    return code


def forget(session: Session, job: Job, author: Principal) -> None:
    """Remove a wrong label. Raises `Conflict` for one that the author may not replace."""
    if _is_replaced(session, job, None, author):
        job.label = job.labelled_at = job.labelled_by = job.labelled_by_id = None


def _is_replaced(session: Session, job: Job, code: int | None, author: Principal) -> bool:
    """Return True if the new label replaces the old one. Raises `Conflict` if it may not."""
    trusted = trusted_among(session, {job.labelled_by_id, author.id})
    effect = effect_of((job.label, job.labelled_by_id), code, author.id, trusted)
    if effect is Effect.REFUSED:
        raise Conflict(KEPT)
    return effect is Effect.REPLACED


@dataclass(frozen=True)
class LabelFiles:
    """Save the labels of a catalog's rows: valid ones are stored, the others reported."""

    unit_of_work: UnitOfWork
    storage: Storage

    def take(
        self, catalog: Catalog, file: BinaryIO, author: Principal, known: CategorySet
    ) -> LabelReport:
        """Save a file of labels, slice by slice; repeating it changes nothing.

        Args:
            catalog: The labelled catalog.
            file: A table with `prdtypecode` or `category`, and `row`, `productid` or `job_id`.
            author: The author of the labels.
            known: The categories of the catalog's release.

        Raises:
            InvalidInput: The file lacks the columns.
            Conflict: The catalog has no jobs.
            Unavailable: The database or the storage does not answer; slices saved before are kept.
        """
        *_, report = self.steps(catalog, file, author, known)
        return report

    def steps(
        self,
        catalog: Catalog,
        file: BinaryIO,
        author: Principal,
        known: CategorySet,
        *,
        allows_new: bool = False,
    ) -> Iterator[LabelReport]:
        """Save a file like `take`, and yield the report so far after each short step.

        Args:
            catalog: The labelled catalog.
            file: The table.
            author: The author of the labels.
            known: The categories of the catalog's release.
            allows_new: True to accept codes that the release does not have.
        """
        _require_jobs(catalog)
        with ExitStack() as files, ProductRows(catalog.rows) as products:
            table = unpack(file, files, max_bytes=MAX_UNPACKED_BYTES, table="labels")
            form = form_of(table, LABEL_NAMES, table="labels")
            key, report = key_of(form), LabelReport()
            if key == PRODUCT:
                for page_products in self._products(catalog):
                    products.add(page_products)
                    yield report
            row_number = {ROW: by_row(catalog.rows), JOB: by_job(catalog)}.get(key, products.row_of)
            reader = LabelReader(
                key, row_number, known, catalog.rows, report, allows_new=allows_new
            )
            rows = rows_of(table, form, LABEL_NAMES)
            while page := next_page(rows):
                batch = list(reader.labels(page))
                if batch:
                    self._keep(catalog, batch, key, author, report)
                yield report
        yield report

    def _products(self, catalog: Catalog) -> Iterator[Iterable[tuple[str, int]]]:
        """Yield the products of a catalog with their row numbers, page by page."""
        try:
            file = self.storage.open(table_of(catalog.id, catalog.report))
        except NotFound as error:
            raise Conflict(
                f"The catalog's file has been deleted, so its `{PRODUCT}` column is unknown; "
                f"identify rows by `{ROW}`"
            ) from error
        with file:
            form = form_in(file, catalog.report)
            require_products(form)
            rows = product_rows(file, form)
            while page := next_page(rows):
                yield products_of(page)

    def _keep(
        self,
        catalog: Catalog,
        batch: Sequence[tuple[Row, int, int]],
        key: str,
        author: Principal,
        report: LabelReport,
    ) -> None:
        ids = {number: row_job_id(catalog.id, number) for _, number, _ in batch}
        with self.unit_of_work() as work:
            query = select(Job.id, Job.label, Job.labelled_by_id).where(
                Job.id.in_(ids.values()), Job.catalog_id == catalog.id
            )
            there = {row.id: (row.label, row.labelled_by_id) for row in work.session.execute(query)}
            authors = {labelled_by for _, labelled_by in there.values()}
            trusted = trusted_among(work.session, authors | {author.id})
            effects = {
                number: effect_of(there[ids[number]], code, author.id, trusted)
                for _, number, code in batch
                if ids[number] in there
            }
            labels = {
                ids[number]: code
                for _, number, code in batch
                if effects.get(number) is Effect.REPLACED
            }
            if labels:
                written = {
                    "labelled_at": now(),
                    "labelled_by": author.username,
                    "labelled_by_id": author.id,
                }
                work.session.execute(
                    update(Job),
                    [{"id": id_, "label": code, **written} for id_, code in labels.items()],
                )
        for row, number, _ in batch:
            if number not in effects:
                report.reject(row, key, row.get(key).strip(), NO_JOB.format(number))
            elif effects[number] is Effect.REFUSED:
                report.reject(row, *written_label(row), KEPT)
            else:
                report.taken += 1


def _require_jobs(catalog: Catalog) -> None:
    if catalog.dry_run:
        raise Conflict("A dry run has no answers to label")
    if catalog.status == CatalogStatus.VALIDATING.value or not is_checked(catalog):
        raise Conflict(f"The catalog has no answers: it is {catalog.status}")
