"""Labels of a catalog: the true categories of its rows, in a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from gateway.api.catalogs import PREFIX, found_catalog
from gateway.api.parameters import CatalogId
from gateway.api.services import Services, ServicesDep, SignedIn, announced_bytes
from gateway.identity.principal import Principal
from gateway.quality.label_report import LabelReport
from gateway.quality.labels import require_may_add_categories
from gateway.quality.schemas.labels import LabelReportOut
from gateway.web.disk_space import DiskSpace
from gateway.web.forms import read_form
from gateway.web.heavy_work import LABELS_UNITS
from shared.db.models import Catalog
from shared.errors import InvalidInput, TooLarge

#: Largest label file, in bytes. A million labels take about 20 MB.
MAX_LABELS_BYTES = 128 * 1024 * 1024
#: Field that allows new categories.
NEW = "new_categories"
_FORM = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["labels"],
                    "properties": {
                        "labels": {
                            "type": "string",
                            "format": "binary",
                            "description": "Table of labels, in any form that a table of products "
                            "may have. At most 128 MiB.",
                        },
                        NEW: {
                            "type": "boolean",
                            "default": False,
                            "description": "True to accept codes of categories that the release "
                            "does not have yet. Only operators and admins add categories.",
                        },
                    },
                }
            }
        }
    }
}

router = APIRouter(prefix=PREFIX, tags=["catalogs"])


@router.post("/{catalog_id}/labels", openapi_extra=_FORM)
async def label(
    services: ServicesDep, principal: SignedIn, request: Request, catalog_id: CatalogId
) -> LabelReportOut:
    """Upload the true categories of rows.

    The file has the column `prdtypecode` with codes, or `category` with names of categories, and
    `row`, `productid` or `job_id` to identify the row; of a row with both, the code counts. Valid
    labels are stored, and the others are listed with the reason; rows without a label are skipped.
    Uploading the same file again changes nothing.
    """
    await run_in_threadpool(found_catalog, services, principal, catalog_id)
    async with received(services, principal, request) as form:
        return await take(services, principal, catalog_id, form)


@asynccontextmanager
async def received(
    services: Services, principal: Principal, request: Request
) -> AsyncIterator[FormData]:
    """Read the form of a label file, and delete the file when the block ends.

    Raises:
        RayonError: The form is invalid, the disk is full, or the user has too much heavy work.
    """
    size = announced_bytes(request, MAX_LABELS_BYTES)
    await run_in_threadpool(DiskSpace(services.storage).require, size)
    with services.heavy_work.counted(principal.id, LABELS_UNITS):
        async with read_form(request, ("labels", NEW)) as form:
            yield form


async def take(
    services: Services, principal: Principal, catalog_id: str, form: FormData
) -> LabelReportOut:
    """Store the valid labels of a form, and report the other rows.

    Raises:
        RayonError: The catalog is missing or has no answers, the file cannot be read, or the user
            may not add categories.
    """
    catalog = await run_in_threadpool(found_catalog, services, principal, catalog_id)
    file, allows_new = _labels_file(form), _allows_new(form, principal)
    report = await _label(services, principal, catalog, file, allows_new=allows_new)
    return LabelReportOut.model_validate(report, from_attributes=True)


def _labels_file(form: FormData) -> BinaryIO:
    file = form.get("labels")
    if not isinstance(file, UploadFile):
        received = "none" if file is None else "text"
        raise InvalidInput(f"Expected a file as `labels`. Received: {received}", field=("labels",))
    if (file.size or 0) > MAX_LABELS_BYTES:
        raise TooLarge(
            f"Expected at most {MAX_LABELS_BYTES} bytes. Received: {file.size}", field=("labels",)
        )
    return file.file


def _allows_new(form: FormData, principal: Principal) -> bool:
    written = form.get(NEW, "false")
    if written not in ("true", "false"):
        raise InvalidInput("Expected `true` or `false`. Received: something else", field=(NEW,))
    if written == "true":
        require_may_add_categories(principal)
    return written == "true"


async def _label(
    services: Services,
    principal: Principal,
    catalog: Catalog,
    file: BinaryIO,
    *,
    allows_new: bool,
) -> LabelReport:
    manifest = await run_in_threadpool(services.releases.manifest, catalog.release)
    report = LabelReport()
    known = manifest.category_set
    taken = services.labels.steps(catalog, file, principal, known, allows_new=allows_new)
    async for so_far in services.heavy_work.steps(taken):
        report = so_far
    return report
