"""Rows of a catalog as the API shows them: uploaded cells, changes, problem and state."""

from dataclasses import dataclass

from gateway.catalogs.products import image_name
from gateway.catalogs.repair.changed_rows import cells_by_column, changed
from gateway.catalogs.repair.opened import Opened
from gateway.catalogs.repair.schemas import CatalogRow, RowProblem, RowStatus
from shared.db.models import Catalog, CatalogRowRepair, Job, JobStatus, RepairStatus
from shared.tables.form import Form
from shared.tables.rows import SHOWN_CHARACTERS, Problem, Row

#: Code of an answer for which the image was never sent.
NOT_SENT = "image_not_sent"


@dataclass(frozen=True)
class Found:
    """A row with its stored problem, repair and job.

    Attributes:
        row: The row as uploaded.
        problem: Problem that the check found; `None` if it accepted the row.
        repair: Its changes, if there are any.
        job: Its job, if it has one.
    """

    row: Row
    problem: Problem | None = None
    repair: CatalogRowRepair | None = None
    job: Job | None = None


def is_running(catalog: Catalog, found: Found) -> bool:
    """Return True if a row waits for its answer, so that it cannot be changed."""
    is_queued = found.repair is not None and found.repair.status == RepairStatus.QUEUED.value
    waits = is_queued and catalog.repaired_until is not None
    return waits or (found.job is not None and found.job.status == JobStatus.QUEUED.value)


def item_of(opened: Opened, found: Found) -> CatalogRow:
    """Return a row as the API shows it."""
    repair, job = found.repair, found.job
    cells = dict(repair.cells) if repair else {}
    row = changed(found.row, opened.form, cells)
    return CatalogRow(
        row=row.number,
        line=row.line,
        status=_status(opened.catalog, found),
        problem=None if is_running(opened.catalog, found) else _problem(opened.form, found),
        cells=cells_by_column(row, opened.form),
        changed=[*cells],
        image=image_name(row),
        has_image=repair is not None and repair.uses_image,
        version=repair.version if repair else 0,
        job_id=job.id if job else None,
    )


def degraded_code(catalog: Catalog, found: Found) -> str:
    """Return why the answer of a row lacks a part of the row; empty if it does not."""
    job, repair = found.job, found.repair
    if job is None or job.status != JobStatus.DONE.value:
        return ""
    code = (job.result or {}).get("degraded")
    if code:
        return str(code)
    is_repaired = repair is not None and repair.is_joined and repair.uses_image
    expects = catalog.model != "text" and not catalog.has_images and not is_repaired
    return NOT_SENT if expects and image_name(found.row) else ""


def _status(catalog: Catalog, found: Found) -> RowStatus:
    if is_running(catalog, found):
        return RowStatus.RUNNING
    if found.repair is not None and found.repair.is_ready:
        return RowStatus.REPAIRED
    if found.job is None:
        return RowStatus.REJECTED
    if found.job.status == JobStatus.FAILED.value:
        return RowStatus.FAILED
    return RowStatus.DEGRADED if degraded_code(catalog, found) else RowStatus.DONE


def _problem(form: Form, found: Found) -> RowProblem | None:
    repair, job = found.repair, found.job
    if repair is not None and (job is None or repair.is_ready or repair.problem):
        return _shown(form, Problem(**repair.problem)) if repair.problem else None
    if job is None:
        return _shown(form, found.problem) if found.problem else None
    if job.status == JobStatus.FAILED.value:
        return _of_job(job.error_code or "failed", job.error_message or "")
    result = job.result or {}
    if job.status == JobStatus.DONE.value and result.get("degraded"):
        message = result.get("degraded_message") or result["degraded"]
        return _of_job(str(result["degraded"]), str(message), image_name(found.row))
    return None


def _shown(form: Form, problem: Problem) -> RowProblem:
    column = form.used.get(problem.column, problem.column) if problem.column else None
    return RowProblem(code=problem.code, column=column, value=problem.value, message=problem.reason)


def _of_job(code: str, message: str, value: str = "") -> RowProblem:
    return RowProblem(code=code, column=None, value=value[:SHOWN_CHARACTERS], message=message)
