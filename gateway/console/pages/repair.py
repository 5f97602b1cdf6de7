"""Repair the rows of a catalog that were rejected, or answered without their image."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData

from gateway.api import catalogs as api
from gateway.api.repair import catalog_rows
from gateway.catalogs.repair.schemas import (
    CatalogRow,
    CatalogRowPage,
    Fill,
    Kind,
    RowChange,
    RowOutcomes,
    RowsPatch,
)
from gateway.console.catalog_tabs import CATALOGS, path_of, tab_page
from gateway.console.explanations import explain
from gateway.console.form import Mistakes, fields, validated
from gateway.console.languages import translations_of
from gateway.console.repair_reasons import reason_names
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import Conflict, InvalidInput, RayonError

#: Rows on a page, and cells of all its rows together.
SHOWN, MOST_CELLS = 50, 600
#: Fields of a form that say which page it was on.
PLACE = ("show", "reason", "cursor", "columns")

router = APIRouter(prefix=f"{CONSOLE}{CATALOGS}/{{catalog_id}}", include_in_schema=False)
Grid = Annotated[
    FormData,
    Depends(
        fields(*PLACE, repeatable=("cell", "value", "version"), max_fields=3 * MOST_CELLS + SHOWN)
    ),
]


@router.get("/repair")
def show(
    visit: SignedVisit,
    catalog_id: str,
    show: str = "",
    reason: str = "",
    cursor: str | None = None,
    columns: str = "",
) -> Response:
    """Show the rejected rows in a grid, or those that were answered without their image."""
    place = {"show": show, "reason": reason, "cursor": cursor or "", "columns": columns}
    return _grid(visit, catalog_id, place)


@router.post("/repair")
def save(visit: SignedVisit, catalog_id: str, form: Grid, request: Request) -> Response:
    """Save the changed cells of a grid; a script gets what became of each row."""
    place = _place(form)
    try:
        saved = _save(visit, catalog_id, form, place)
    except RayonError as error:
        if _is_script(request):
            raise
        return _grid(visit, catalog_id, place, error.status, mistakes=Mistakes.of(error))
    if _is_script(request):
        return JSONResponse(_outcome(visit, saved))
    refused = sum(not one.saved for one in saved.items)
    wrong = sum(one.item is not None and one.item.problem is not None for one in saved.items)
    counts = {"saved": len(saved.items) - refused, "wrong": wrong, "refused": refused or None}
    return visit.go(path_of(catalog_id, "/repair"), **place, **counts)


@router.post("/repair/fill")
def fill(
    visit: SignedVisit,
    catalog_id: str,
    form: Annotated[FormData, Depends(fields(*PLACE, "column", "filling"))],
) -> Response:
    """Fill one column of all rows with one reason."""
    place = _place(form)
    wanted = {
        "reason": place["reason"],
        "column": str(form.get("column", "")),
        "value": str(form.get("filling", "")),
    }
    try:
        patch = RowsPatch(fill=validated(Fill, wanted))
        done = catalog_rows.change_rows(visit.services, visit.user, catalog_id, patch)
    except RayonError as error:
        return _grid(visit, catalog_id, place, error.status, mistakes=Mistakes.of(error))
    return visit.go(path_of(catalog_id, "/repair"), **place, saved=done.filled)


@router.post("/repair/images")
def add_images(
    visit: SignedVisit,
    catalog_id: str,
    form: Annotated[
        FormData,
        Depends(fields(*PLACE, repeatable=("images",), max_files=catalog_rows.MOST_IMAGES)),
    ],
) -> Response:
    """Add missing images to the rows that name them."""
    place = _place(form)
    try:
        added = catalog_rows.add_sent(visit.services, visit.user, catalog_id, form)
    except RayonError as error:
        return _grid(visit, catalog_id, place, error.status, mistakes=Mistakes.of(error))
    return _grid(visit, catalog_id, place, added=added)


@router.post("/repair/run")
def run(visit: SignedVisit, catalog_id: str) -> Response:
    """Run the repaired rows."""
    try:
        catalog_rows.run_repaired(visit.services, visit.user, visit.origin, catalog_id)
    except RayonError as error:
        return _grid(visit, catalog_id, {}, error.status, mistakes=Mistakes.of(error))
    return visit.go(path_of(catalog_id, "/repair"), ran="1")


def _grid(
    visit: Visit,
    catalog_id: str,
    place: Mapping[str, str],
    status_code: int = 200,
    **changes: Any,
) -> Response:
    catalog = api.shown_catalog(visit.services, visit.user, catalog_id)
    page, failure = _page_or_reason(visit, catalog_id, place)
    query = visit.request.query_params
    context: dict[str, Any] = {
        "kind": _kind(place).value,
        "place": {**dict.fromkeys(PLACE, ""), **place},
        "page": page,
        "failure": failure,
        "shown": _shown_columns(page, place) if page else [],
        "reasons": reason_names(visit.language),
        "degraded": _count_degraded(visit, catalog_id) if page else 0,
        "mistakes": Mistakes(),
        "added": None,
        "ran": "ran" in query,
        **{name: _number(query.get(name)) for name in ("saved", "wrong", "refused")},
    }
    return tab_page(visit, catalog, "catalog_repair.html", status_code, **{**context, **changes})


def _page_or_reason(
    visit: Visit, catalog_id: str, place: Mapping[str, str]
) -> tuple[CatalogRowPage | None, str]:
    """Return the rows of a page, or why the catalog has none."""
    try:
        return _page(visit, catalog_id, place), ""
    except Conflict as error:
        return None, error.detail


def _page(visit: Visit, catalog_id: str, place: Mapping[str, str]) -> CatalogRowPage:
    services, user, kind = visit.services, visit.user, _kind(place)
    chosen = place.get("reason") or None, place.get("cursor") or None
    page = catalog_rows.list_rows(services, user, catalog_id, kind, *chosen, SHOWN)
    limit = max(1, MOST_CELLS // max(1, len(_shown_columns(page, place))))
    if limit >= SHOWN:
        return page
    # A wide table has fewer rows on a page.
    return catalog_rows.list_rows(services, user, catalog_id, kind, *chosen, limit)


def _shown_columns(page: CatalogRowPage, place: Mapping[str, str]) -> list[str]:
    """Return the columns of the grid: those in use and those at fault, or all."""
    if place.get("columns") == "all":
        return page.columns[:MOST_CELLS]
    wrong = {one.problem.column for one in page.items if one.problem}
    used = {*page.used_columns.values()}
    return [name for name in page.columns if name in used | wrong]


def _count_degraded(visit: Visit, catalog_id: str) -> int:
    page = catalog_rows.list_rows(
        visit.services, visit.user, catalog_id, Kind.DEGRADED, None, None, 1
    )
    return sum(one.count for one in page.reasons)


def _save(visit: Visit, catalog_id: str, form: FormData, place: Mapping[str, str]) -> RowOutcomes:
    """Save the cells that differ from those of the page."""
    page = _page(visit, catalog_id, place)
    there = {one.row: one for one in page.items}
    versions = dict(_pair(text) for text in form.getlist("version"))
    changes: dict[int, dict[str, str]] = {}
    cells, values = form.getlist("cell"), form.getlist("value")
    if len(cells) != len(values):
        raise InvalidInput("Expected a value for each cell. Received: another number")
    for cell, value in zip(cells, values, strict=True):
        row, position = _pair(cell)
        column = page.columns[position] if position < len(page.columns) else ""
        text = str(value).replace("\r\n", "\n")
        if row not in there or text != _lines(there[row], column):
            changes.setdefault(row, {})[column] = text
    rows = [
        RowChange(row=row, cells=dict(changed), version=versions.get(row))
        for row, changed in changes.items()
    ]
    return catalog_rows.change_rows(visit.services, visit.user, catalog_id, RowsPatch(rows=rows))


def _lines(row: CatalogRow, column: str) -> str:
    # Browsers send line breaks of their own kind.
    return row.cells.get(column, "").replace("\r\n", "\n").replace("\r", "\n")


def _outcome(visit: Visit, saved: RowOutcomes) -> dict[str, Any]:
    """Return what became of the rows, in words for people."""

    def say(message: str) -> str:
        return str(explain(message, visit.language, translations_of(visit.language)))

    return {
        "ready": saved.ready,
        "rows": [
            {
                "row": one.row,
                "saved": one.saved,
                "error": say(one.error) if one.error else "",
                "version": one.item.version if one.item else 0,
                "status": one.item.status.value if one.item else "",
                "problem": say(one.item.problem.message) if one.item and one.item.problem else "",
                "column": one.item.problem.column if one.item and one.item.problem else None,
            }
            for one in saved.items
        ],
    }


def _kind(place: Mapping[str, str]) -> Kind:
    return Kind.DEGRADED if place.get("show") == Kind.DEGRADED.value else Kind.REJECTED


def _place(form: FormData) -> dict[str, str]:
    return {name: str(form.get(name, "")) for name in PLACE}


def _pair(text: object) -> tuple[int, int]:
    """Return two numbers of a field such as `12:3`."""
    first, _, second = str(text).partition(":")
    if not (first.isdecimal() and second.isdecimal()):
        raise InvalidInput(f"Expected two numbers such as `12:3`. Received: {str(text)[:40]!r}")
    return int(first), int(second)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _is_script(request: Request) -> bool:
    return request.headers.get("accept") == "application/json"
