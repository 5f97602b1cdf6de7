"""Import a catalog: choose its files, look at its columns and at the check, and start it."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from gateway.api import catalogs as api
from gateway.api.importing import drafts
from gateway.catalogs.importing.schemas import CatalogSample, CheckRequest
from gateway.catalogs.products import CHALLENGE_IMAGE, STATED
from gateway.catalogs.schemas import CatalogOut
from gateway.console.catalog_tabs import path_of
from gateway.console.form import Mistaken, Mistakes, fields
from gateway.console.menu import N_
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from shared.errors import NotFound, RayonError, Unauthenticated

PATH = "/import"
#: Drafts on the first page, and names of images that a page lists.
SHOWN, LISTED = 20, 100
#: Longest time that a request waits for the end of a check, in seconds.
MAX_WAIT_SECONDS = 10
#: Choice of the challenge's two columns, which name an image together.
PAIR = "imageid+productid"
NO_COLUMN = N_("Choose the column of the titles, of the descriptions or of the images.")

router = APIRouter(prefix=f"{CONSOLE}{PATH}", include_in_schema=False)
Columns = Annotated[FormData, Depends(fields(*STATED))]


@router.get("")
def ask(visit: SignedVisit, done: str = "") -> Response:
    """Show the form for the files, and the drafts that wait for their start."""
    return _files(visit, done=done)


@router.post("")
async def upload(visit: SignedVisit, request: Request) -> Response:
    """Store the files as a draft and go to its check."""
    try:
        catalog = await api.submit(visit.services, visit.user, request, Response())
    except Unauthenticated:
        raise
    except RayonError as error:
        return await run_in_threadpool(_files, visit, error.status, mistakes=Mistakes.of(error))
    return visit.go(f"{PATH}/{catalog.id}")


@router.get("/{catalog_id}")
async def show(
    visit: SignedVisit,
    catalog_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0,
    changed: str = "",
) -> Response:
    """Show the columns of a draft with its first rows, and what the check found."""
    catalog = await api.show(visit.services, visit.user, catalog_id, wait)
    return await run_in_threadpool(_check, visit, catalog, changed=changed)


@router.post("/{catalog_id}/check")
def check(visit: SignedVisit, catalog_id: str, form: Columns) -> Response:
    """Check the draft with other columns."""
    try:
        drafts.check(visit.services, visit.user, catalog_id, _wanted(form))
    except RayonError as error:
        return _again(visit, catalog_id, form, error)
    return visit.go(f"{PATH}/{catalog_id}")


@router.post("/{catalog_id}/start")
def start(visit: SignedVisit, catalog_id: str, form: Columns) -> Response:
    """Start the draft; if other columns are chosen than those that were checked, check them."""
    services, user = visit.services, visit.user
    try:
        wanted, used = _wanted(form), api.shown_catalog(services, user, catalog_id).used_columns
        if _differ(wanted.columns, used):
            drafts.check(services, user, catalog_id, wanted)
            return visit.go(f"{PATH}/{catalog_id}", changed="1")
        drafts.start(services, user, catalog_id)
    except RayonError as error:
        return _again(visit, catalog_id, form, error)
    return visit.go(path_of(catalog_id))


@router.post("/{catalog_id}/discard")
def discard(visit: SignedVisit, catalog_id: str) -> Response:
    """Give the draft up."""
    api.cancel(visit.services, visit.user, catalog_id)
    return visit.go(PATH, done="discard")


def _files(visit: Visit, status_code: int = 200, **changes: Any) -> Response:
    services, user = visit.services, visit.user
    context: dict[str, Any] = {
        "drafts": api.list_catalogs(services, user, limit=SHOWN, draft=True).items,
        "max_bytes": services.catalogs.settings.max_bytes,
        "mistakes": Mistakes(),
        "done": "",
    }
    return visit.page("import.html", status_code, **{**context, **changes})


def _check(visit: Visit, catalog: CatalogOut, status_code: int = 200, **changes: Any) -> Response:
    if not catalog.dry_run or catalog.kept_until is None:
        return visit.go(path_of(catalog.id))
    sample = _sample(visit, catalog.id)
    context: dict[str, Any] = {
        "catalog": catalog,
        "sample": sample,
        "chosen": _chosen(sample.used_columns) if sample else {},
        "pair": PAIR if sample and {*CHALLENGE_IMAGE} <= sample.used_columns.keys() else "",
        "accepted": catalog.counts.rows - catalog.counts.rejected,
        "listed": LISTED,
        "path": f"{PATH}/{catalog.id}",
        "wait": MAX_WAIT_SECONDS,
        "mistakes": Mistakes(),
        "changed": "",
    }
    return visit.page("import_check.html", status_code, **{**context, **changes})


def _again(visit: Visit, catalog_id: str, form: FormData, error: RayonError) -> Response:
    """Show the page again with what was chosen and why it was refused."""
    catalog = api.shown_catalog(visit.services, visit.user, catalog_id)
    chosen = {name: str(form.get(name, "")) for name in STATED}
    return _check(visit, catalog, error.status, mistakes=Mistakes.of(error), chosen=chosen)


def _sample(visit: Visit, catalog_id: str) -> CatalogSample | None:
    try:
        return drafts.sample(visit.services, visit.user, catalog_id)
    except NotFound:
        return None


def _wanted(form: FormData) -> CheckRequest:
    """Return the columns that a form states. Raises `Mistaken` if it names none."""
    chosen = {name: str(form.get(name, "")) or None for name in STATED}
    if not any(chosen.values()):
        raise Mistaken(Mistakes(whole=NO_COLUMN))
    if chosen["image"] == PAIR:
        del chosen["image"]
    return CheckRequest(columns=chosen)


def _chosen(used: Mapping[str, str]) -> dict[str, str]:
    """Return the choice of each field that stands for the columns in use."""
    image = used.get("image") or (PAIR if {*CHALLENGE_IMAGE} <= used.keys() else "")
    return {**{name: used.get(name, "") for name in STATED}, "image": image}


def _differ(wanted: Mapping[str, str | None], used: Mapping[str, str]) -> bool:
    chosen = {name: wanted.get(name, PAIR if name == "image" else None) or "" for name in STATED}
    return chosen != _chosen(used)
