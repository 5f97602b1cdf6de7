"""Answers of a catalog: filters, order and pages.

The index `ix_jobs_catalog_id_confidence` serves the order by confidence and the counts; other
filters read the rows of the catalog in their order until a page is full.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Row, Select, and_, func, not_, select, true, tuple_
from sqlalchemy.orm import Session

from gateway.catalogs.output.acceptance import Acceptance
from gateway.catalogs.output.text_search import contains
from gateway.jobs.service import TITLE_CHARACTERS
from gateway.web.paging import fetch_page
from shared.db.models import MOST_ROWS, Job, JobStatus, row_job_id
from shared.errors import InvalidInput

Sort = Literal["row", "confidence", "-confidence"]
LabelState = Literal["none", "any", "equal", "other"]
_COLUMNS = (
    Job.id,
    Job.status,
    func.substr(Job.designation, 1, TITLE_CHARACTERS).label("title"),
    Job.image_uri,
    Job.prdtypecode,
    Job.confidence,
    Job.is_foreign,
    Job.result,
    Job.error_code,
    Job.error_message,
    Job.label,
)


@dataclass(frozen=True)
class Filter:
    """The rows that a list of answers contains; all of them by default.

    Attributes:
        status: Status of the job.
        category: Code of the answer.
        min_confidence: Smallest confidence.
        max_confidence: Largest confidence.
        text: Words that title or description contain.
        label: `none`, `any`, or a label that is `equal` to the answer or `other` than it.
        accepted: True for answers that the acceptance accepts, False for the other answers.
        foreign: True for answers to products that seem foreign, False for the other answers.
    """

    status: JobStatus | None = None
    category: int | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    text: str = ""
    label: LabelState | None = None
    accepted: bool | None = None
    foreign: bool | None = None


@dataclass(frozen=True)
class CategoryCount:
    """Number of the answers of a category, and of those that people have labelled."""

    code: int
    rows: int
    labelled: int


def page(
    session: Session,
    catalog_id: str,
    wanted: Filter,
    acceptance: Acceptance | None,
    sort: Sort,
    cursor: str | None,
    limit: int,
) -> tuple[Sequence[Row[tuple[object, ...]]], str | None]:
    """Return a page of rows that have a job, and the cursor of the next page.

    Args:
        session: Runs the query.
        catalog_id: The catalog.
        wanted: The filter.
        acceptance: Thresholds, which the filter `accepted` needs.
        sort: `row` in the order of the table; by confidence, only rows with an answer.
        cursor: Cursor of the page before; `None` for the first page.
        limit: Maximum rows of a page.

    Raises:
        InvalidInput: The cursor was not issued by this list in this order.
    """
    dialect = session.get_bind().dialect.name
    # SQLite takes the range of IDs, and sorts all rows of it, if the query names one.
    rows_of = _of(catalog_id) if sort == "row" else answered(catalog_id)
    query = select(*_COLUMNS).where(*rows_of, *_conditions(wanted, acceptance, dialect, catalog_id))
    rows, has_more = fetch_page(session, _ordered(query, sort, cursor), limit)
    return rows, _cursor_after(rows[-1], sort) if has_more else None


def category_counts(session: Session, catalog_id: str) -> Sequence[CategoryCount]:
    """Return the number of answers of each category, most first."""
    query = (
        select(Job.prdtypecode, func.count(), func.count(Job.label))
        .where(*answered(catalog_id))
        .group_by(Job.prdtypecode)
        .order_by(func.count().desc(), Job.prdtypecode)
    )
    return [CategoryCount(code or 0, *counts) for code, *counts in session.execute(query)]


def answered(catalog_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the jobs of a catalog with an answer."""
    # Without the range of IDs, so that the index alone answers.
    return Job.catalog_id == catalog_id, Job.confidence.is_not(None)


def _of(catalog_id: str) -> tuple[ColumnElement[bool], ...]:
    ids = row_job_id(catalog_id, 0), row_job_id(catalog_id, MOST_ROWS)
    return Job.id.between(*ids), Job.catalog_id == catalog_id


def _conditions(
    wanted: Filter, acceptance: Acceptance | None, dialect: str, catalog_id: str
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        found.append(Job.status == wanted.status.value)
    if wanted.category is not None:
        found.append(Job.prdtypecode == wanted.category)
    found += _confidence(wanted)
    if wanted.label is not None:
        found.append(_label(wanted.label))
    if wanted.accepted is not None and acceptance is not None:
        accepted = acceptance.condition()
        found += [
            *answered(catalog_id),
            accepted if wanted.accepted else not_(accepted),
        ]
    if wanted.foreign is not None:
        found += [*answered(catalog_id), _foreign(is_wanted=wanted.foreign)]
    if wanted.text.split():
        found.append(contains(wanted.text, dialect))
    return found


def _confidence(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.min_confidence is not None:
        found.append(Job.confidence >= wanted.min_confidence)
    if wanted.max_confidence is not None:
        found.append(Job.confidence <= wanted.max_confidence)
    return found


def _foreign(*, is_wanted: bool) -> ColumnElement[bool]:
    # Answers of earlier versions are not known to be foreign.
    return Job.is_foreign == true() if is_wanted else Job.is_foreign.is_not(True)


def _label(state: LabelState) -> ColumnElement[bool]:
    has_label = Job.label.is_not(None)
    if state == "none":
        return Job.label.is_(None)
    if state == "any":
        return has_label
    is_equal = Job.label == Job.prdtypecode
    return and_(has_label, is_equal if state == "equal" else not_(is_equal))


def _ordered(
    query: Select[tuple[object, ...]], sort: Sort, cursor: str | None
) -> Select[tuple[object, ...]]:
    if sort == "row":
        if cursor is not None:
            query = query.where(Job.id > _read_cursor(cursor, sort)[1])
        return query.order_by(Job.id)
    query = query.where(Job.confidence.is_not(None))
    position = tuple_(Job.confidence, Job.id)
    is_rising = sort == "confidence"
    if cursor is not None:
        last = tuple_(*_read_cursor(cursor, sort))
        query = query.where(position > last if is_rising else position < last)
    if is_rising:
        return query.order_by(Job.confidence, Job.id)
    return query.order_by(Job.confidence.desc(), Job.id.desc())


def _cursor_after(row: Row[tuple[object, ...]], sort: Sort) -> str:
    confidence = row.confidence if sort != "row" else 0.0
    return base64.urlsafe_b64encode(f"{sort} {confidence!r} {row.id}".encode()).decode()


def _read_cursor(cursor: str, sort: Sort) -> tuple[float, str]:
    """Return confidence and ID of the row that a page begins after."""
    try:
        kept, confidence, job_id = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        if kept == sort and len(job_id) == len(row_job_id("0" * 36, 0)):
            return float(confidence), job_id
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput(
        f"Expected a `next_cursor` of a page with `sort={sort}`. Received: {cursor[:80]!r}",
        field=("cursor",),
    )
