"""List the rows of a catalog that need a person: rejected, failed and degraded ones."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, String, TextClause, func, select, type_coerce
from sqlalchemy.orm import Session

from gateway.catalogs.products import image_name, product_rows
from gateway.catalogs.repair.drafts import count_ready, found_of, joined_rows
from gateway.catalogs.repair.items import NOT_SENT, degraded_code, item_of
from gateway.catalogs.repair.opened import Opened, Repairs
from gateway.catalogs.repair.rejected_rows import RejectedRow
from gateway.catalogs.repair.schemas import CatalogRow, CatalogRowPage, Kind, ReasonCount
from gateway.identity.principal import Principal
from shared.db.models import (
    MOST_ROWS,
    NOT_DONE,
    CatalogRowRepair,
    Job,
    JobStatus,
    row_job_id,
    row_of_job,
)
from shared.errors import InvalidInput
from shared.tables.rows import Row

#: Characters of cells at which a page ends earlier.
PAGE_CHARACTERS = 4_000_000
#: Rows whose jobs are looked up with one query.
BATCH = 250
#: A cursor is the number of the last row of a page.
_ROW = re.compile("[0-9]{1,10}")


@dataclass(frozen=True)
class Wanted:
    """A page of rows.

    Attributes:
        kind: Which rows.
        reason: Only rows with this code; all if `None`.
        after: Number of the row that the page begins after.
        limit: Most rows of the page.
    """

    kind: Kind
    reason: str | None
    after: int
    limit: int


def wanted_page(kind: Kind, reason: str | None, cursor: str | None, limit: int) -> Wanted:
    """Return the page that the parameters of a request mean. Raises `InvalidInput`."""
    if cursor is not None and not _ROW.fullmatch(cursor):
        raise InvalidInput(
            f"Expected a `next_cursor` of a previous page. Received: {cursor[:80]!r}",
            field=("cursor",),
        )
    return Wanted(kind, reason, min(int(cursor or 0), MOST_ROWS), limit)


def page(repairs: Repairs, principal: Principal, catalog_id: str, wanted: Wanted) -> CatalogRowPage:
    """Return a page of rows in the order of the table.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: It is being checked, was refused, or its file has been deleted.
        Unavailable: The database or the storage does not answer.
    """
    with repairs.opened(principal, catalog_id) as opened:
        with repairs.unit_of_work.reading() as session:
            numbers, reasons = _LISTS[wanted.kind](opened, session, wanted)
            base = numbers[: wanted.limit]
            found = found_of(opened, session, dict(base))
            ready = count_ready(session, catalog_id)
        items = _fitting(item_of(opened, found[number]) for number, _ in base)
        has_more = len(numbers) > len(items)
        return CatalogRowPage(
            items=items,
            columns=opened.columns,
            used_columns=opened.form.used,
            reasons=[
                ReasonCount(code=code, count=count)
                for code, count in reasons.most_common()
                if count > 0
            ],
            ready=ready,
            next_cursor=str(items[-1].row) if has_more and items else None,
        )


#: Rows of a list with their numbers, one more than its limit if there are more.
Numbered = list[tuple[int, RejectedRow | Row]]


def _rejected(opened: Opened, session: Session, wanted: Wanted) -> tuple[Numbered, Counter[str]]:
    joined = joined_rows(session, opened.catalog.id)
    known: dict[str, int] | None = opened.catalog.report.get("rejected_codes")
    reasons: Counter[str] = Counter(known or {})
    found: Numbered = []
    for one in opened.rejected():
        if one.row.number in joined:
            continue
        reasons[one.problem.code] += known is None
        is_wanted = wanted.reason in (None, one.problem.code) and one.row.number > wanted.after
        if is_wanted and len(found) <= wanted.limit:
            found.append((one.row.number, one))
        if len(found) > wanted.limit and known is not None:
            break
    if known is not None:
        reasons.subtract(_joined_codes(session, opened.catalog.id))
    return found, reasons


def _joined_codes(session: Session, catalog_id: str) -> Counter[str]:
    query = (
        select(CatalogRowRepair.code, func.count())
        .where(CatalogRowRepair.catalog_id == catalog_id, CatalogRowRepair.is_joined)
        .group_by(CatalogRowRepair.code)
    )
    return Counter({code: count for code, count in session.execute(query) if code})


def _failed(opened: Opened, session: Session, wanted: Wanted) -> tuple[Numbered, Counter[str]]:
    is_failed = NOT_DONE, Job.status == JobStatus.FAILED.value
    return _of_jobs(opened, session, wanted, is_failed, type_coerce(Job.error_code, String))


def _degraded(opened: Opened, session: Session, wanted: Wanted) -> tuple[Numbered, Counter[str]]:
    code = Job.result["degraded"].as_string()
    is_degraded = Job.status == JobStatus.DONE.value, code.is_not(None)
    found, reasons = _of_jobs(opened, session, wanted, is_degraded, code)
    if opened.catalog.has_images or opened.catalog.model == "text":
        return found, reasons
    reasons[NOT_SENT] = _count_not_sent(opened, session)
    is_wanted = wanted.reason in (None, NOT_SENT) and reasons[NOT_SENT]
    rows = _without_archive(opened, session, wanted.after) if is_wanted else iter(())
    without = {row.number: row for row in islice(rows, wanted.limit + 1)}
    both: dict[int, RejectedRow | Row] = {**dict(found), **without}
    return sorted(both.items(), key=lambda one: one[0])[: wanted.limit + 1], reasons


def _of_jobs(
    opened: Opened,
    session: Session,
    wanted: Wanted,
    conditions: Sequence[ColumnElement[bool] | TextClause],
    code: ColumnElement[Any],
) -> tuple[Numbered, Counter[str]]:
    id_ = opened.catalog.id
    all_ids = Job.id.between(id_, row_job_id(id_, MOST_ROWS))
    which = Job.catalog_id == id_, all_ids, *conditions
    counted = select(code, func.count()).where(*which).group_by(code)
    reasons = Counter({str(one or ""): count for one, count in session.execute(counted)})
    query = select(Job.id).where(*which, Job.id > row_job_id(id_, wanted.after))
    if wanted.reason is not None:
        query = query.where(code == wanted.reason)
    ids = session.scalars(query.order_by(Job.id).limit(wanted.limit + 1)).all()
    numbers = [row_of_job(job_id) for job_id in ids]
    rows = opened.rows(set(numbers))
    return [(number, rows[number]) for number in numbers if number in rows], reasons


def _count_not_sent(opened: Opened, session: Session) -> int:
    """Count the accepted rows that name an image, where no archive was sent, and still lack it."""
    report = opened.catalog.report
    added = select(func.count()).where(
        CatalogRowRepair.catalog_id == opened.catalog.id,
        CatalogRowRepair.code == "",
        CatalogRowRepair.joined_image_uri.is_not(None),
    )
    named: int = report.get("named_images", report.get("warnings", 0))
    return max(0, named - (session.scalar(added) or 0))


def _without_archive(opened: Opened, session: Session, after: int) -> Iterator[Row]:
    """Yield the answered rows after a row that name an image, where no archive was sent."""
    rows = product_rows(opened.products, opened.form)
    for some in _pages(row for row in rows if row.number > after):
        found = found_of(opened, session, {row.number: row for row in some})
        for number, one in found.items():
            if degraded_code(opened.catalog, one) == NOT_SENT:
                yield found[number].row


def _pages(rows: Iterator[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    for row in rows:
        if row.problem is None and image_name(row):
            some.append(row)
        if len(some) >= BATCH:
            yield some
            some = []
    if some:
        yield some


def _fitting(items: Iterator[CatalogRow]) -> list[CatalogRow]:
    """Return as many of the first items as keep the response small; at least one."""
    found: list[CatalogRow] = []
    characters = 0
    for item in items:
        characters += sum(map(len, item.cells.values()))
        if found and characters > PAGE_CHARACTERS:
            break
        found.append(item)
    return found


_LISTS = {Kind.REJECTED: _rejected, Kind.FAILED: _failed, Kind.DEGRADED: _degraded}
