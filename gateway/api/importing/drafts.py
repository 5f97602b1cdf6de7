"""Drafts: look at an upload, check it with other columns, and start it."""

import json
from functools import partial

from fastapi import APIRouter

from gateway.api.catalogs import PREFIX, found_catalog, shown_catalog
from gateway.api.parameters import CatalogId
from gateway.api.services import Services, ServicesDep, SignedIn
from gateway.catalogs.importing import drafts
from gateway.catalogs.importing.schemas import CatalogSample, CheckRequest
from gateway.catalogs.products import stated_columns
from gateway.catalogs.schemas import CatalogOut
from gateway.releases.resolve import resolve

router = APIRouter(prefix=f"{PREFIX}/{{catalog_id}}", tags=["catalogs"])


@router.get("/sample")
def sample(services: ServicesDep, principal: SignedIn, catalog_id: CatalogId) -> CatalogSample:
    """Return the header and the first rows of a draft, with the column of each field.

    It is there as soon as the check has begun to read the table, also if the check fails.
    """
    catalog = found_catalog(services, principal, catalog_id)
    return CatalogSample.model_validate(json.loads(drafts.sample(services.storage, catalog)))


@router.post("/check", status_code=202)
def check(
    services: ServicesDep, principal: SignedIn, catalog_id: CatalogId, wanted: CheckRequest
) -> CatalogOut:
    """Check a draft again, with other columns.

    The columns are remembered: they are used for your next draft with the same header.
    """
    columns = stated_columns(wanted.columns)
    drafts.check_again(services.catalogs, principal, catalog_id, columns)
    return shown_catalog(services, principal, catalog_id)


@router.post("/start", status_code=202)
def start(services: ServicesDep, principal: SignedIn, catalog_id: CatalogId) -> CatalogOut:
    """Classify the rows of a draft whose check has finished. Its files are not sent again.

    An alias of a release, such as `champion`, stands for the version that it names now. A catalog
    that was started already is returned unchanged.
    """
    services.quotas.require_rows(principal)
    drafts.start(services.catalogs, principal, catalog_id, partial(_version, services))
    return shown_catalog(services, principal, catalog_id)


def _version(services: Services, release: str) -> str:
    return resolve(services.champion, services.releases, release)
