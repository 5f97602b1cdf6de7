"""Catalogs: many products in one file."""

import asyncio
import time
from contextlib import ExitStack
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from gateway.api.answers.accepting import ByCategory, Target, acceptance_of
from gateway.api.answers.categories import known_categories
from gateway.api.answers.downloads import CSV, download
from gateway.api.parameters import CatalogId, Cursor, IdempotencyKey, Limit, Wait, located
from gateway.api.services import Services, ServicesDep, SignedIn, announced_bytes
from gateway.catalogs import service as catalogs
from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.counting import Counts, counts, eta_seconds
from gateway.catalogs.importing.drafts import give_up
from gateway.catalogs.output.error_file import error_pieces
from gateway.catalogs.output.results import Extras, Kind
from gateway.catalogs.resume import resume as resume_catalog
from gateway.catalogs.resume import retry as retry_failed
from gateway.catalogs.schemas import CatalogCounts, CatalogOut, CatalogPage
from gateway.catalogs.upload_form import (
    FIELDS,
    RESUME_FIELDS,
    RESUME_FORM,
    UPLOAD_FORM,
    images_of,
    parts_of,
    upload_of,
)
from gateway.identity.principal import Principal
from gateway.jobs.schemas import JobError
from gateway.releases.resolve import resolve
from gateway.web.forms import read_form
from shared.db.models import Catalog, CatalogStatus

PREFIX = "/v1/catalogs"
#: Pause of a request with `wait` after an announcement of a catalog that runs again, in seconds.
AGAIN_SECONDS = 0.5

router = APIRouter(prefix=PREFIX, tags=["catalogs"])


@router.post("", status_code=202, responses=located(202), openapi_extra=UPLOAD_FORM)
async def submit(
    services: ServicesDep,
    principal: SignedIn,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> CatalogOut:
    """Submit a catalog of many products. Poll it for its progress, then download the results.

    `products` has the columns `designation`, `description` and `image` (a name in the archive), or
    the challenge's `designation`, `description`, `productid` and `imageid`. Case, accents and
    spaces do not matter, and the usual names of shop exports are known, such as `Titre`, `Nom`,
    `Name` or `Image Src`; `columns` states others. All other columns are copied to the results.
    Invalid rows are rejected one by one; download them with
    `GET /v1/catalogs/{catalog_id}/errors`.
    """
    announced = announced_bytes(request, 0)
    await run_in_threadpool(services.quotas.require_rows, principal)
    largest = announced or services.catalogs.settings.max_bytes
    await run_in_threadpool(services.require_space, principal, largest)
    await run_in_threadpool(services.catalogs.require_room, principal, announced)
    with services.catalogs.uploads.counted(principal.id, announced):
        async with read_form(request, FIELDS) as form:
            take = partial(_take, services, principal, form, idempotency_key)
            catalog = await run_in_threadpool(take, request.state.trace_id)
            found = await run_in_threadpool(shown_catalog, services, principal, catalog.id)
    response.headers["Location"] = f"{PREFIX}/{catalog.id}"
    return found


@router.get("")
def list_catalogs(
    services: ServicesDep,
    principal: SignedIn,
    status: Annotated[
        CatalogStatus | None, Query(description="Status of the catalogs; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    draft: Annotated[
        bool | None,
        Query(
            description="True for drafts that can be started, false for other catalogs; all by "
            "default."
        ),
    ] = None,
) -> CatalogPage:
    """List your catalogs, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = catalogs.page(session, principal, cursor, limit, status, draft)
        counted = counts(session, found)
        items = [catalog_out(one, counted[one.id]) for one in found]
    return CatalogPage(items=items, next_cursor=following)


@router.get("/{catalog_id}")
async def show(
    services: ServicesDep,
    principal: SignedIn,
    catalog_id: CatalogId,
    wait: Wait = 0,
) -> CatalogOut:
    """Return a catalog with its progress. With `wait`, respond as soon as it is final."""
    until, pause = time.monotonic() + wait, 0.0
    while True:
        found = await run_in_threadpool(shown_catalog, services, principal, catalog_id)
        left = until - time.monotonic()
        if found.status not in UNFINISHED or left <= 0 or services.long_polls.is_closed:
            return found
        await asyncio.sleep(min(pause, left))
        await services.long_polls.until_final(catalog_id, max(0.0, until - time.monotonic()))
        pause = AGAIN_SECONDS


@router.delete("/{catalog_id}")
def cancel(services: ServicesDep, principal: SignedIn, catalog_id: CatalogId) -> CatalogOut:
    """Cancel a catalog. Existing answers stay; a final catalog is returned unchanged.

    Its archive is deleted at once, and images that no other job has within a few hours. A draft
    can no longer be started.
    """
    with services.unit_of_work() as work:
        catalogs.cancel(work.session, principal, catalog_id)
        give_up(work.session, catalog_id)
        work.announce([catalog_id])
    services.catalogs.forget_archive(catalog_id)
    return shown_catalog(services, principal, catalog_id)


@router.post("/{catalog_id}/retry", status_code=202)
def retry(services: ServicesDep, principal: SignedIn, catalog_id: CatalogId) -> CatalogOut:
    """Retry the failed rows of a finished catalog."""
    with services.unit_of_work() as work:
        retry_failed(work.session, principal, catalog_id)
        work.announce_unfed(catalog_id)
    return shown_catalog(services, principal, catalog_id)


@router.post("/{catalog_id}/resume", status_code=202, openapi_extra=RESUME_FORM)
async def resume(
    services: ServicesDep, principal: SignedIn, request: Request, catalog_id: CatalogId
) -> CatalogOut:
    """Run the rows of a cancelled catalog that have no answer; existing answers stay.

    The catalog and its release stay the same. Send its image archive again, if it had one, because
    a cancel deletes it.
    """
    announced = announced_bytes(request, 0)
    await run_in_threadpool(services.quotas.require_rows, principal)
    await run_in_threadpool(services.require_space, principal, announced)
    is_chunked = "transfer-encoding" in request.headers
    with services.catalogs.uploads.counted(principal.id, announced or (0 if is_chunked else 1)):
        async with read_form(request, RESUME_FIELDS) as form:
            images = images_of(form)
            await run_in_threadpool(
                resume_catalog, services.catalogs, principal, catalog_id, images
            )
    return await run_in_threadpool(shown_catalog, services, principal, catalog_id)


@router.get("/{catalog_id}/results", response_class=StreamingResponse, responses=CSV)
def results(
    services: ServicesDep,
    principal: SignedIn,
    catalog_id: CatalogId,
    format: Annotated[  # noqa: A002 - the parameter's public name
        Kind, Query(description="File format: `csv`, `jsonl` for JSON Lines, `xlsx` for Excel.")
    ] = "csv",
    raw: Annotated[
        bool, Query(description="True to keep cells that begin like a formula unescaped.")
    ] = False,
    bom: Annotated[
        bool | None,
        Query(
            description="True for CSV with a byte order mark, by which Excel reads accents; by "
            "default it is added if the upload had one or was not in UTF-8."
        ),
    ] = None,
    target: Target = None,
    by_category: ByCategory = False,
    labels: Annotated[
        bool,
        Query(
            description="True for the columns `label` and `label_category`: the true category, "
            "where a person has set it."
        ),
    ] = False,
) -> StreamingResponse:
    """Download the uploaded rows, each followed by the columns of its answer.

    With `target` there is a column `accepted`: true for answers with enough confidence to reach
    that precision, unless a label contradicts them.

    `rayon_message` says in words why a row was rejected, failed, or was answered by a part of it.
    Rows without an answer yet have empty answer columns. Cells that a spreadsheet would run as a
    formula are escaped with an apostrophe unless `raw` is true.
    """
    catalog = found_catalog(services, principal, catalog_id)
    known = known_categories(services, catalog.release) if labels else None
    extras = Extras(acceptance_of(services, catalog, target, by_category=by_category), known)
    pieces = services.results.write(catalog, format, raw=raw, has_bom=bom, extras=extras)
    return download(services, principal, pieces, catalog, "results", format)


@router.get("/{catalog_id}/errors", response_class=StreamingResponse, responses=CSV)
def errors(services: ServicesDep, principal: SignedIn, catalog_id: CatalogId) -> StreamingResponse:
    """Download the rejected rows as CSV: row, line, column, value, reason, uploaded columns.

    Rows that were repaired and run are left out.
    """
    catalog = found_catalog(services, principal, catalog_id)
    pieces = error_pieces(services.unit_of_work, services.storage, catalog)
    return download(services, principal, pieces, catalog, "errors", "csv")


def catalog_out(catalog: Catalog, counted: Counts) -> CatalogOut:
    """Return the response body of a catalog."""
    report = catalog.report
    error = catalog.error_code and JobError(
        code=catalog.error_code, message=catalog.error_message or ""
    )
    return CatalogOut.model_validate(
        {
            **{name: getattr(catalog, name) for name in _PLAIN},
            "counts": CatalogCounts(**vars(counted)),
            "eta_seconds": eta_seconds(catalog, counted),
            "warnings": report.get("warnings", 0),
            "notes": report.get("notes", []),
            "rejections": report.get("rejections", []),
            "used_columns": report.get("used_columns", {}),
            "unused_columns": report.get("unused_columns", []),
            "omits_columns": report.get("omits_columns", False),
            **{
                f"{kind}_{what}": report.get(f"{kind}_{what}", nothing)
                for kind in ("unmatched", "unused", "refused")
                for what, nothing in (("images", []), ("count", 0))
            },
            "error": error,
        }
    )


_PLAIN = (
    "id",
    "name",
    "status",
    "model",
    "release",
    "dry_run",
    "has_images",
    "created_at",
    "started_at",
    "finished_at",
    "kept_until",
    "rows_per_second",
)


def _take(
    services: Services, principal: Principal, form: FormData, key: str | None, trace_id: str
) -> Catalog:
    parts, sent = services.catalogs.parts, parts_of(form)
    with ExitStack() as files:
        upload = upload_of(form, partial(parts.open, principal, files=files))
        if sent:
            # The request itself was small.
            services.require_space(principal, upload.size)
            services.catalogs.require_room(principal, upload.size)
        catalog = services.catalogs.submit(
            principal,
            upload,
            version=resolve(services.champion, services.releases, upload.release),
            idempotency_key=key,
            trace_id=trace_id,
        )
    # A sender with a key may repeat the request, which needs them again.
    for upload_id in sent if key is None else ():
        parts.forget(principal, upload_id)
    return catalog


def shown_catalog(services: Services, principal: Principal, catalog_id: str) -> CatalogOut:
    """Return a catalog of the user with its progress. Raises `NotFound`."""
    with services.unit_of_work.reading() as session:
        catalog = catalogs.find(session, principal, catalog_id)
        return catalog_out(catalog, counts(session, [catalog])[catalog_id])


def found_catalog(services: Services, principal: Principal, catalog_id: str) -> Catalog:
    """Return a catalog of the user. Raises `NotFound`."""
    with services.unit_of_work.reading() as session:
        return catalogs.find(session, principal, catalog_id)
