"""Datasets: labelled training data in immutable versions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from gateway.api.parameters import DatasetName, located
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn, announced_bytes
from gateway.identity.principal import Principal
from gateway.releases import datasets
from gateway.releases.datasets import FILES, Change
from gateway.releases.schemas.datasets import (
    DatasetList,
    DatasetOut,
    DatasetReportOut,
    DatasetVersionOut,
    DatasetVersionReport,
)
from gateway.web.forms import read_form
from shared.db.models import DatasetVersion
from shared.errors import InvalidInput

PREFIX = "/v1/datasets"
#: Value of `labels` that adds the labelled jobs.
CORRECTED = "corrected"
#: Field with the ID of a row to leave out; may be repeated.
REMOVE = "remove"
#: Maximum number of IDs in `remove`.
MAX_FIELDS = 20_000

#: Descriptions of the uploaded files.
_FILES = {
    "products": "Table of products with some of the columns `designation`, `description` and "
    "`image` (a name in the archive), optionally `id`, and the labels as `prdtypecode` or "
    "`category`: codes, texts, or paths such as `Maison > Literie`; or with the challenge's "
    "columns. Forms and names of columns are those of catalogs. May be a ZIP archive with the "
    "table and its images.",
    "labels": "Table of labels with the column `prdtypecode` or `category`, matched by row number, "
    "or by order if a file has no row numbers. Only needed if `products` has no such column.",
    "images": "ZIP archive of the images that the rows name.",
    "categories": "Table of the codes and names of categories. A code without a name is its own "
    "name. Labels may be these names.",
}
_NAME = {
    "type": "string",
    "description": "Name of the new dataset: 1 to 64 lower-case letters, digits, `.`, `_` and `-`, "
    "beginning with a letter or digit.",
}

router = APIRouter(prefix=PREFIX, tags=["models"])


def _form(*required: str, **more: dict[str, Any]) -> dict[str, Any]:
    """Build the OpenAPI description of a form that FastAPI does not parse itself."""
    file = {"type": "string", "format": "binary"}
    fields = {**{name: {**file, "description": _FILES[name]} for name in FILES}, **more}
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}


@router.get("")
def list_datasets(services: ServicesDep, _operator: SignedIn) -> DatasetList:
    """List all datasets by name, each with its versions, newest first."""
    with services.unit_of_work.reading() as session:
        return DatasetList(
            items=[
                DatasetOut(name=name, versions=[_out(one) for one in versions])
                for name, versions in datasets.all_by_name(session)
            ]
        )


@router.post(
    "",
    status_code=202,
    responses=located(202),
    openapi_extra=_form("name", "products", name=_NAME),
)
async def upload(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    request: Request,
    response: Response,
) -> DatasetReportOut:
    """Upload a dataset. Poll it until its version is `ready`, or `failed` with a report.

    The labels of the products are the column `prdtypecode` or `category` of `products`, or the file
    `labels`. A category that is named by a text gets a code that stays in all versions.
    Files larger than 8 GiB together are refused by default.
    """
    async with _form_of(services, operator, request, "name") as form:
        name = form.get("name")
        if not isinstance(name, str):
            raise InvalidInput("Expected a name. Received: none", field=("name",))
        create = partial(services.datasets.create, operator, name, _change(form))
        version = await run_in_threadpool(create, origin)
    return _accepted(version, response)


@router.get("/{name}")
def show(services: ServicesDep, _operator: SignedIn, name: DatasetName) -> DatasetReportOut:
    """Return a dataset with the validation report of each version."""
    with services.unit_of_work.reading() as session:
        versions = [_report(one) for one in datasets.find(session, name)]
    return DatasetReportOut(name=name, versions=versions)


@router.delete("/{name}", status_code=204)
def delete(services: ServicesDep, operator: SignedIn, origin: OriginDep, name: DatasetName) -> None:
    """Delete a dataset with all its versions. Refused with 409 while a training run uses it."""
    services.datasets.delete(operator, name, origin)


@router.post(
    "/{name}/rows",
    status_code=202,
    responses=located(202),
    openapi_extra=_form(
        remove={
            "type": "array",
            "items": {"type": "string"},
            "description": "IDs of rows to leave out, at most 20,000.",
        },
        labels={
            "description": "Table of labels, or the word `corrected` to add all labelled jobs.",
            "type": "string",
        },
    ),
)
async def add_rows(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    name: DatasetName,
    request: Request,
    response: Response,
) -> DatasetReportOut:
    """Create a version from the latest ready one by adding, replacing or removing rows.

    Rows of `products` with an existing ID replace that row. `remove` lists IDs.
    """
    async with _form_of(services, operator, request, REMOVE) as form:
        add = partial(services.datasets.add, operator, name, _change(form))
        version = await run_in_threadpool(add, origin)
    return _accepted(version, response)


@asynccontextmanager
async def _form_of(
    services: Services, operator: Principal, request: Request, *more: str
) -> AsyncIterator[FormData]:
    """Read the form of an upload that fits on the disks and in the operator's quota."""
    announced = announced_bytes(request, 0)
    size = announced or services.settings.max_dataset_bytes
    await run_in_threadpool(services.require_space, operator, size)
    with services.catalogs.uploads.counted(operator.id, announced):
        async with read_form(
            request, (*FILES, *more), repeatable=(REMOVE,), max_fields=MAX_FIELDS
        ) as form:
            yield form


def _change(form: FormData) -> Change:
    sent = ((kind, form.get(kind)) for kind in FILES)
    files = {kind: one.file for kind, one in sent if isinstance(one, UploadFile)}
    labels = form.get("labels")
    if isinstance(labels, str) and labels != CORRECTED:
        raise InvalidInput(
            f"Expected a file or `{CORRECTED}` as `labels`. Received: {labels[:40]!r}",
            field=("labels",),
        )
    remove = [one for one in form.getlist(REMOVE) if isinstance(one, str)]
    return Change(files=files, remove=remove, corrected=labels == CORRECTED)


def _accepted(version: DatasetVersion, response: Response) -> DatasetReportOut:
    response.headers["Location"] = f"{PREFIX}/{version.name}"
    return DatasetReportOut(name=version.name, versions=[_report(version)])


def _out(version: DatasetVersion) -> DatasetVersionOut:
    return DatasetVersionOut.model_validate(version, from_attributes=True)


def _report(version: DatasetVersion) -> DatasetVersionReport:
    return DatasetVersionReport.model_validate(version, from_attributes=True)
