"""Labels of a catalog in a file: its form, and the rows of it that were not taken."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from gateway.api import catalog_labels as api
from gateway.console.catalog_tabs import CATALOGS, tab_page
from gateway.console.form import Mistakes
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.quality.label_reading import UNKNOWN
from gateway.quality.schemas.labels import LabelReportOut
from shared.errors import NotFound, RayonError, Unauthenticated

#: Rows with a problem, and new categories, on a page.
LISTED = 100

router = APIRouter(prefix=f"{CONSOLE}{CATALOGS}/{{catalog_id}}", include_in_schema=False)


@router.get("/labels")
def show(visit: SignedVisit, catalog_id: str) -> Response:
    """Show the form."""
    return _page(visit, catalog_id)


@router.post("/labels")
async def take(visit: SignedVisit, catalog_id: str, request: Request) -> Response:
    """Save the labels of a file, and show which rows were not taken."""
    allows_new = False
    try:
        async with api.received(visit.services, visit.user, request) as form:
            allows_new = form.get(api.NEW) == "true"
            report = await api.take(visit.services, visit.user, catalog_id, form)
    except (NotFound, Unauthenticated):
        raise
    except RayonError as error:
        changes = {"allows_new": allows_new, "mistakes": Mistakes.of(error)}
        return await run_in_threadpool(_page, visit, catalog_id, error.status, changes)
    changes = {"allows_new": allows_new, "report": report, "has_unknown": _has_unknown(report)}
    return await run_in_threadpool(_page, visit, catalog_id, 200, changes)


def _has_unknown(report: LabelReportOut) -> bool:
    """Return True if a category was the reason for rejecting a row."""
    return any(problem.reason.startswith(UNKNOWN) for problem in report.problems)


def _page(
    visit: Visit, catalog_id: str, status_code: int = 200, changes: dict[str, Any] | None = None
) -> Response:
    context: dict[str, Any] = {
        "report": None,
        "allows_new": False,
        "has_unknown": False,
        "mistakes": Mistakes(),
        "listed": LISTED,
        "max_bytes": api.MAX_LABELS_BYTES,
    }
    context |= changes or {}
    return tab_page(visit, catalog_id, "catalog_labels.html", status_code, **context)
