"""Show the rows of a catalog that failed, and retry them."""

from typing import Any

from fastapi import APIRouter, Response

from gateway.api import catalogs as api
from gateway.api.repair import catalog_rows
from gateway.catalogs.repair.schemas import CatalogRowPage, Kind
from gateway.console.catalog_tabs import CATALOGS, path_of, tab_page
from gateway.console.form import Mistakes
from gateway.console.repair_reasons import reason_names
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import Conflict

#: Rows on a page.
SHOWN = 50

router = APIRouter(prefix=f"{CONSOLE}{CATALOGS}/{{catalog_id}}/failed", include_in_schema=False)


@router.get("")
def show(
    visit: SignedVisit, catalog_id: str, reason: str = "", cursor: str | None = None
) -> Response:
    """Show the rows whose classification failed, with the reasons."""
    return _failed(visit, catalog_id, reason, cursor)


@router.post("/retry")
def retry(visit: SignedVisit, catalog_id: str) -> Response:
    """Queue the failed rows again."""
    try:
        api.retry(visit.services, visit.user, catalog_id)
    except Conflict as error:
        return _failed(visit, catalog_id, "", None, error.status, mistakes=Mistakes.of(error))
    return visit.go(path_of(catalog_id, "/failed"), ran="1")


def _failed(
    visit: Visit,
    catalog_id: str,
    reason: str,
    cursor: str | None,
    status_code: int = 200,
    **changes: Any,
) -> Response:
    catalog = api.shown_catalog(visit.services, visit.user, catalog_id)
    try:
        page: CatalogRowPage | None = catalog_rows.list_rows(
            visit.services, visit.user, catalog_id, Kind.FAILED, reason or None, cursor, SHOWN
        )
        failure = ""
    except Conflict as error:
        page, failure = None, error.detail
    context: dict[str, Any] = {
        "page": page,
        "failure": failure,
        "reason": reason,
        "reasons": reason_names(visit.language),
        "mistakes": Mistakes(),
        "ran": "ran" in visit.request.query_params,
    }
    return tab_page(visit, catalog, "catalog_failed.html", status_code, **{**context, **changes})
