"""Save changes of rows: each is checked like a row of an upload, and a wrong one stops no other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.catalogs.products import image_name
from gateway.catalogs.repair.changed_rows import cells_by_column, changed
from gateway.catalogs.repair.items import Found, degraded_code, is_running, item_of
from gateway.catalogs.repair.opened import Opened, Repairs, require_repairable
from gateway.catalogs.repair.rejected_rows import RejectedRow
from gateway.catalogs.repair.schemas import (
    MOST_CHARACTERS,
    MOST_FILLED,
    Fill,
    RowChange,
    RowOutcome,
    RowOutcomes,
    RowsPatch,
)
from gateway.catalogs.row_check import problem_of
from gateway.identity.principal import Principal
from shared.db.models import Catalog, CatalogRowRepair, JobStatus, RepairStatus, now
from shared.errors import InvalidInput
from shared.tables.json_lines import storable
from shared.tables.rows import Row

Item = TypeVar("Item")
#: Rows that one transaction changes.
BATCH = 500


class NotChanged(Exception):
    """A change of a row that is refused, with the reason."""


def change(
    repairs: Repairs, principal: Principal, catalog_id: str, patch: RowsPatch
) -> RowOutcomes:
    """Save changed cells of rows, and check each row.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: Its rows cannot be repaired.
        InvalidInput: The column to fill does not exist.
        Unavailable: The database or the storage does not answer.
    """
    with repairs.opened(principal, catalog_id) as opened:
        require_repairable(opened.catalog)
        if patch.fill is not None:
            _require_column(opened, patch.fill.column)
        outcomes = [
            outcome for some in batches(patch.rows) for outcome in _change_some(opened, some)
        ]
        filled = 0 if patch.fill is None else _fill(opened, patch.fill)
        with repairs.unit_of_work.reading() as session:
            ready = count_ready(session, catalog_id)
        return RowOutcomes(items=outcomes, filled=filled, ready=ready)


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Divide items into batches, each of which one transaction changes."""
    there = iter(items)
    while some := list(islice(there, BATCH)):
        yield some


def count_ready(session: Session, catalog_id: str) -> int:
    """Return the number of repaired rows that the next run includes."""
    query = select(func.count()).where(
        CatalogRowRepair.catalog_id == catalog_id, CatalogRowRepair.is_ready
    )
    return session.scalar(query) or 0


def lock(session: Session, catalog_id: str) -> Catalog:
    """Return a catalog as it is now, locked until the end of the transaction.

    Raises:
        Conflict: Its rows cannot be repaired any more.
    """
    query = select(Catalog).where(Catalog.id == catalog_id).with_for_update()
    # Another transaction may have changed the catalog since this session read it.
    catalog = session.scalars(query, execution_options={"populate_existing": True}).one()
    require_repairable(catalog)
    return catalog


def bases(opened: Opened, numbers: set[int]) -> dict[int, RejectedRow | Row]:
    """Return rows as uploaded: the rejected ones from their file, the others from the table."""
    found: dict[int, RejectedRow | Row] = {}
    last = max(numbers, default=0)
    for one in opened.rejected() if opened.catalog.report.get("rejected_codes", True) else ():
        if one.row.number in numbers:
            found[one.row.number] = one
        if one.row.number >= last:
            break
    return {**found, **opened.rows(numbers - found.keys())}


def found_of(
    opened: Opened, session: Session, base: Mapping[int, RejectedRow | Row]
) -> dict[int, Found]:
    """Return rows with their repairs and jobs."""
    saved, jobs = opened.saved(session, [*base]), opened.jobs(session, [*base])
    found = {}
    for number, one in base.items():
        row, problem = (one.row, one.problem) if isinstance(one, RejectedRow) else (one, None)
        found[number] = Found(row, problem, saved.get(number), jobs.get(number))
    return found


def apply(
    opened: Opened, session: Session, found: Found, cells: Mapping[str, str]
) -> CatalogRowRepair:
    """Store the changed cells of a row, and the outcome of its check."""
    repair = found.repair
    if repair is None:
        code = found.problem.code if found.problem else ""
        repair = CatalogRowRepair(
            catalog_id=opened.catalog.id,
            row=found.row.number,
            version=0,
            code=code,
            joined_cells={},
            image_name="",
            is_joined=False,
            uses_image=False,
        )
        session.add(repair)
    repair.cells = dict(cells)
    repair.version, repair.changed_at = repair.version + 1, now()
    check(opened, found, repair)
    return repair


def check(opened: Opened, found: Found, repair: CatalogRowRepair) -> None:
    """Check a row with its changes as an upload is checked, and store the outcome."""
    row = changed(found.row, opened.form, repair.cells)
    catalog, name = opened.catalog, image_name(row)
    has_image = bool(name) and repair.image_uri is not None and repair.image_name == name
    repair.uses_image = has_image and catalog.model != "text"
    repair.lacks_image = bool(name) and catalog.has_images and not has_image
    problem = row.problem or problem_of(row, name, opened.terms, has_image=repair.uses_image)
    repair.problem = asdict(problem) if problem else {}
    repair.designation, repair.description = row.get("designation"), row.get("description")
    image_uri = repair.image_uri if repair.uses_image else None
    is_as_run = repair.cells == repair.joined_cells and image_uri == repair.joined_image_uri
    # A row without a job that passes the check now was rejected before.
    repair.is_ready = problem is None and (not is_as_run or found.job is None)
    is_joined = is_as_run and repair.is_joined
    repair.status = RepairStatus.JOINED.value if is_joined else RepairStatus.DRAFT.value


def _change_some(opened: Opened, changes: Sequence[RowChange]) -> list[RowOutcome]:
    base = bases(opened, {one.row for one in changes})
    with opened.repairs.unit_of_work() as work:
        catalog = lock(work.session, opened.catalog.id)
        found = found_of(opened, work.session, base)
        outcomes = []
        for one in changes:
            there = found.get(one.row)
            try:
                there = _changed(opened, work.session, catalog, there, one)
                found[one.row], error = there, None
            except NotChanged as reason:
                error = str(reason)
            item = item_of(opened, there) if there and _is_open(catalog, there) else None
            outcomes.append(RowOutcome(row=one.row, saved=error is None, error=error, item=item))
    return outcomes


def _changed(
    opened: Opened, session: Session, catalog: Catalog, found: Found | None, wanted: RowChange
) -> Found:
    if found is None or not _is_open(catalog, found):
        raise NotChanged(
            f"Expected a rejected, failed or degraded row. Received: row {wanted.row}, which "
            + ("does not exist" if found is None else "has a complete answer or none yet")
        )
    if is_running(catalog, found):
        raise NotChanged("The row is being classified; wait for its answer")
    version = found.repair.version if found.repair else 0
    if wanted.version is not None and wanted.version != version:
        raise NotChanged(
            f"Expected version {version} of the row, which somebody has changed since. "
            f"Received: {wanted.version}"
        )
    cells = _cells(opened, found, wanted)
    return Found(found.row, found.problem, apply(opened, session, found, cells), found.job)


def _is_open(catalog: Catalog, found: Found) -> bool:
    """Return True if a row needs a person, or was repaired by one."""
    if found.repair is not None:
        return True
    if found.job is None:
        return found.problem is not None
    return found.job.status == JobStatus.FAILED.value or bool(degraded_code(catalog, found))


def _cells(opened: Opened, found: Found, wanted: RowChange) -> dict[str, str]:
    repair = found.repair
    if wanted.cells is None:
        return dict(repair.joined_cells) if repair else {}
    uploaded = cells_by_column(found.row, opened.form)
    cells = dict(repair.cells) if repair else {}
    for column, value in wanted.cells.items():
        if column not in uploaded:
            raise NotChanged(
                f"Expected one of the columns {', '.join(uploaded)[:300]}. "
                f"Received: {column[:80]!r}"
            )
        if value is None or storable(value) == uploaded[column]:
            cells.pop(column, None)
        else:
            cells[column] = storable(value)
    characters = sum(map(len, {**uploaded, **cells}.values()))
    if characters > MOST_CHARACTERS:
        raise NotChanged(
            f"Expected a row of at most {MOST_CHARACTERS} characters. Received: {characters}"
        )
    return cells


def _require_column(opened: Opened, column: str) -> None:
    if column not in opened.columns:
        raise InvalidInput(
            f"Expected one of the columns {', '.join(opened.columns)[:300]}. "
            f"Received: {column[:80]!r}",
            field=("fill", "column"),
        )


def _fill(opened: Opened, fill: Fill) -> int:
    alike = (one for one in opened.rejected() if one.problem.code == fill.reason)
    with opened.repairs.unit_of_work.reading() as session:
        joined = joined_rows(session, opened.catalog.id)
    rows = (one for one in alike if one.row.number not in joined)
    count = 0
    for some in batches(islice(rows, MOST_FILLED)):
        wanted = [RowChange(row=one.row.number, cells={fill.column: fill.value}) for one in some]
        with opened.repairs.unit_of_work() as work:
            catalog = lock(work.session, opened.catalog.id)
            found = found_of(opened, work.session, {one.row.number: one for one in some})
            for change_ in wanted:
                try:
                    _changed(opened, work.session, catalog, found[change_.row], change_)
                    count += 1
                except NotChanged:
                    continue
    return count


def joined_rows(session: Session, catalog_id: str) -> set[int]:
    """Return the numbers of the rejected rows that a run has included."""
    query = select(CatalogRowRepair.row).where(
        CatalogRowRepair.catalog_id == catalog_id,
        CatalogRowRepair.is_joined,
        CatalogRowRepair.code != "",
    )
    return set(session.scalars(query))
