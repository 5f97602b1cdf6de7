"""Catalogs: the list, the progress of one, its cancel and resume, and its files."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from gateway.api import catalogs as api
from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.output.results import Kind
from gateway.console.catalog_tabs import CATALOGS, path_of, tab_page
from gateway.console.form import Mistakes
from gateway.console.percent import percent_of
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.db.models import CatalogStatus
from shared.errors import RayonError, Unauthenticated

#: Catalogs on a page.
SHOWN = 25
#: Names of images that a page lists; the files of a catalog have all reasons.
LISTED = 100
STATUSES = tuple(status.value for status in CatalogStatus)

router = APIRouter(prefix=f"{CONSOLE}{CATALOGS}", include_in_schema=False)


@router.get("")
def show_all(visit: SignedVisit, status: str = "", cursor: str | None = None) -> Response:
    """List the catalogs of the visitor, newest first."""
    wanted = CatalogStatus(status) if status in STATUSES else None
    page = api.list_catalogs(visit.services, visit.user, wanted, cursor, SHOWN)
    chosen = wanted.value if wanted else ""
    return visit.page(
        "catalogs.html",
        catalogs=page.items,
        following=page.next_cursor,
        chosen=chosen,
        statuses=STATUSES,
        is_first=cursor is None,
        live=visit.url(CATALOGS, status=chosen, cursor=cursor)
        if any(one.status in UNFINISHED for one in page.items)
        else "",
    )


@router.get("/{catalog_id}")
def show(visit: SignedVisit, catalog_id: str, done: str = "") -> Response:
    """Show the progress of a catalog, and the notes of its check."""
    return _progress(visit, catalog_id, done=done)


@router.post("/{catalog_id}/cancel")
def cancel(visit: SignedVisit, catalog_id: str) -> Response:
    """Cancel a catalog."""
    api.cancel(visit.services, visit.user, catalog_id)
    return visit.go(path_of(catalog_id), done="cancel")


@router.post("/{catalog_id}/resume")
async def resume(visit: SignedVisit, catalog_id: str, request: Request) -> Response:
    """Run the rows that a cancel left, with the archive sent again if there was one."""
    try:
        await api.resume(visit.services, visit.user, request, catalog_id)
    except Unauthenticated:
        raise
    except RayonError as error:
        return await run_in_threadpool(
            _progress, visit, catalog_id, error.status, mistakes=Mistakes.of(error)
        )
    return visit.go(path_of(catalog_id), done="resume")


@router.get("/{catalog_id}/files")
def show_files(visit: SignedVisit, catalog_id: str) -> Response:
    """Show the files of results, and that of the rejected rows."""
    query = visit.request.query_params
    target, is_by_category = percent_of(query.get("target", "")), query.get("by") == "category"
    wanted = {"target": f"{target:g}", "by": "category" if is_by_category else ""} if target else {}
    return tab_page(visit, catalog_id, "catalog_files.html", target=target, wanted=wanted)


@router.get("/{catalog_id}/results")
def download_results(
    visit: SignedVisit,
    catalog_id: str,
    format: Kind = "csv",  # noqa: A002 - the parameter's public name
) -> Response:
    """Download the rows with their answers and labels; with `target`, which are accepted."""
    query = visit.request.query_params
    target = percent_of(query.get("target", ""))
    return api.results(
        visit.services,
        visit.user,
        catalog_id,
        format,
        target=target / 100 if target else None,
        by_category=query.get("by") == "category",
        labels=True,
    )


@router.get("/{catalog_id}/errors")
def download_errors(visit: SignedVisit, catalog_id: str) -> Response:
    """Download the rejected rows."""
    return api.errors(visit.services, visit.user, catalog_id)


def _progress(visit: Visit, catalog_id: str, status_code: int = 200, **changes: Any) -> Response:
    catalog = api.shown_catalog(visit.services, visit.user, catalog_id)
    counts = catalog.counts
    context: dict[str, Any] = {
        "final": counts.rejected + counts.done + counts.failed + counts.cancelled,
        "is_open": catalog.status in UNFINISHED,
        "listed": LISTED,
        "mistakes": Mistakes(),
        "done": "",
    }
    return tab_page(visit, catalog, "catalog_progress.html", status_code, **{**context, **changes})
