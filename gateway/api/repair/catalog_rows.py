"""Rows of a catalog that need a person: list them, change them, add images, and run them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from gateway.api.catalogs import PREFIX, found_catalog, shown_catalog
from gateway.api.parameters import CatalogId, Limit
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn, announced_bytes
from gateway.catalogs.repair import drafts, images, listing, running
from gateway.catalogs.repair.images import SentFile
from gateway.catalogs.repair.opened import Repairs
from gateway.catalogs.repair.schemas import (
    AddedImages,
    CatalogRowPage,
    Kind,
    RowOutcomes,
    RowsPatch,
)
from gateway.catalogs.schemas import CatalogOut
from gateway.identity import audit_log
from gateway.identity.principal import Principal
from gateway.web.forms import read_form
from shared.errors import InvalidInput

#: Files of one request that adds images.
MOST_IMAGES = 1_000
IMAGES_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Images, or ZIP archives of images, at most 1,000 "
                            "files. Each goes to the rows that name it, as in an upload.",
                        }
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix=PREFIX, tags=["catalogs"])


@router.get("/{catalog_id}/rows")
def list_rows(
    services: ServicesDep,
    principal: SignedIn,
    catalog_id: CatalogId,
    status: Annotated[
        Kind,
        Query(
            description="`rejected`: rows without a job; `failed`: rows whose classification "
            "failed; `degraded`: rows whose answer does not use their image."
        ),
    ] = Kind.REJECTED,
    reason: Annotated[
        str | None, Query(max_length=64, description="Code of the reason; all by default.")
    ] = None,
    cursor: Annotated[
        str | None,
        Query(description="`next_cursor` of the previous page. Omit it for the first page."),
    ] = None,
    limit: Limit = 50,
) -> CatalogRowPage:
    """List the rows of a catalog that need a person, with their cells and their problems.

    Repaired rows stay in the list of their first reason until they are run.
    """
    wanted = listing.wanted_page(status, reason, cursor, limit)
    return listing.page(repairs_of(services), principal, catalog_id, wanted)


@router.patch("/{catalog_id}/rows")
def change_rows(
    services: ServicesDep, principal: SignedIn, catalog_id: CatalogId, patch: RowsPatch
) -> RowOutcomes:
    """Change cells of rejected, failed or degraded rows.

    Each row is checked by the rules of an upload. One that is still wrong is saved too, with its
    problem, and does not affect the others. Nothing is classified before `POST …/repair`. The
    uploaded file stays as it is; results show the changed cells once the row has run.
    """
    return drafts.change(repairs_of(services), principal, catalog_id, patch)


@router.post("/{catalog_id}/images", openapi_extra=IMAGES_FORM)
async def add_images(
    services: ServicesDep, principal: SignedIn, request: Request, catalog_id: CatalogId
) -> AddedImages:
    """Add missing images: each goes to the rejected, failed and degraded rows that name it."""
    await run_in_threadpool(found_catalog, services, principal, catalog_id)
    announced = announced_bytes(request, 0)
    await run_in_threadpool(services.require_space, principal, announced)
    with services.catalogs.uploads.counted(principal.id, announced):
        async with read_form(
            request, ("images",), repeatable=("images",), max_files=MOST_IMAGES
        ) as form:
            return await run_in_threadpool(add_sent, services, principal, catalog_id, form)


@router.post("/{catalog_id}/repair", status_code=202)
def run_repaired(
    services: ServicesDep, principal: SignedIn, origin: OriginDep, catalog_id: CatalogId
) -> CatalogOut:
    """Classify the repaired rows of a catalog, and only these.

    Their answers join the same results, progress and counts. Repeating the request while they run
    changes nothing.
    """
    services.quotas.require_rows(principal)
    with services.unit_of_work() as work:
        catalog, rows = running.run(work.session, services.catalogs.settings, principal, catalog_id)
        if rows and catalog.user_id != principal.id:
            audit_log.record(
                work.session,
                origin,
                "catalog.repair",
                actor=principal.username,
                target=catalog_id,
                rows=rows,
            )
    return shown_catalog(services, principal, catalog_id)


def add_sent(
    services: Services, principal: Principal, catalog_id: str, form: FormData
) -> AddedImages:
    """Add the images that a form contains. Raises `InvalidInput` if there are none."""
    files = [one for one in form.getlist("images") if isinstance(one, UploadFile)]
    # A browser sends an empty field if no file was chosen.
    sent = [SentFile(one.filename, one.file) for one in files if one.filename]
    if not sent:
        raise InvalidInput("Expected files as `images`. Received: none", field=("images",))
    return images.add(repairs_of(services), principal, catalog_id, sent)


def repairs_of(services: Services) -> Repairs:
    """Return what repairs need of the gateway."""
    return Repairs(
        services.unit_of_work,
        services.storage,
        services.catalogs.settings,
        services.settings.max_text_characters,
        services.settings.max_image_bytes,
    )
