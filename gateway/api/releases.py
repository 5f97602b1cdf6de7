"""Releases, their categories, and their promotion."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from gateway.api.parameters import ReleaseVersion
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.principal import Origin, Principal
from gateway.releases.resolve import resolve
from gateway.releases.schemas.releases import (
    CategoryList,
    CategoryOut,
    PromoteRequest,
    PromotionOut,
    ReleaseList,
    ReleaseOut,
)
from shared.db.models import Promotion
from shared.inference.releases.access import Release
from shared.inference.releases.registry import CHALLENGER, CHAMPION
from shared.lifecycle.promotion import promote
from shared.lifecycle.promotion import roll_back as roll_back_release

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/categories")
def list_categories(
    services: ServicesDep,
    _principal: SignedIn,
    release: Annotated[str, Query(description="Alias or version of the release.")] = CHAMPION,
) -> CategoryList:
    """List the categories that a release can predict."""
    version = resolve(services.champion, services.releases, release)
    found = services.releases.manifest(version).categories
    return CategoryList(
        release=version,
        items=[CategoryOut(prdtypecode=one.code, category=one.name) for one in found],
    )


@router.get("/releases")
def list_releases(services: ServicesDep, _principal: SignedIn) -> ReleaseList:
    """List all releases, newest first, and the promotion ledger."""
    with services.unit_of_work.reading() as session:
        ledger = session.scalars(select(Promotion).order_by(Promotion.id.desc())).all()
    return ReleaseList(
        items=[_out(services, found) for found in services.releases.versions()],
        ledger=[PromotionOut.model_validate(line, from_attributes=True) for line in ledger],
    )


@router.get("/releases/{version}")
def show_release(
    services: ServicesDep, _principal: SignedIn, version: ReleaseVersion
) -> ReleaseOut:
    """Return a release by version or alias."""
    return _out(services, services.releases.show(version))


@router.post("/releases/rollback")
def roll_back(
    services: ServicesDep, admin: SignedIn, origin: OriginDep, request: PromoteRequest
) -> ReleaseOut:
    """Promote the previous champion again.

    Workers switch without a restart. The response follows like that of a promotion.
    """
    release = roll_back_release(
        services.unit_of_work, services.releases, by=admin.username, reason=request.reason
    )
    _record(services, origin, "release.roll_back", admin, release.version, request.reason)
    return _promoted(services, release)


@router.post("/releases/{version}/promote")
def promote_release(
    services: ServicesDep,
    admin: SignedIn,
    origin: OriginDep,
    version: ReleaseVersion,
    request: PromoteRequest,
) -> ReleaseOut:
    """Promote a release to champion.

    Workers switch without a restart. The response follows once they have loaded the release, after
    30 seconds at most: jobs that are submitted after it get the release if `serving` is true.
    """
    release = promote(
        services.unit_of_work, services.releases, version, by=admin.username, reason=request.reason
    )
    _record(services, origin, "release.promote", admin, release.version, request.reason)
    return _promoted(services, release)


def _record(
    services: Services, origin: Origin, action: str, admin: Principal, version: str, reason: str
) -> None:
    # Recorded after the alias has moved. If this fails, the promotion ledger still names the admin.
    with services.unit_of_work() as work:
        audit_log.record(
            work.session, origin, action, actor=admin.username, target=version, reason=reason
        )


def _out(services: Services, release: Release) -> ReleaseOut:
    serving = services.champion.is_current(release.version)
    return ReleaseOut.model_validate({**vars(release), "serving": serving})


def _promoted(services: Services, release: Release) -> ReleaseOut:
    """Describe a release that became champion, once new jobs get it.

    The registry is not asked again: if it stopped answering now, a promotion that succeeded would
    look like one that failed.
    """
    aliases = sorted({*release.aliases, CHAMPION} - {CHALLENGER})
    serving = services.champion.adopt(release.version)
    return ReleaseOut.model_validate({**vars(release), "aliases": aliases, "serving": serving})
