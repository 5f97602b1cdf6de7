"""Releases, their categories, and their promotion."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.api.parameters import Cursor, ReleaseVersion
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.principal import Origin, Principal
from gateway.releases import training
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

#: Releases of the longest page.
LONGEST_PAGE = 200

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
        items=[
            CategoryOut(prdtypecode=one.code, category=one.name, category_path=[*one.path])
            for one in found
        ],
    )


@router.get("/releases")
def list_releases(
    services: ServicesDep,
    _principal: SignedIn,
    cursor: Cursor = None,
    limit: Annotated[
        int | None,
        Query(
            ge=1, le=LONGEST_PAGE, description="Maximum number of items to return; by default all."
        ),
    ] = None,
) -> ReleaseList:
    """List the releases, newest first, and the promotion ledger.

    Of hundreds of releases, read a page with `limit`: the registry needs a second for all of them.
    """
    if limit is None and cursor is None:
        found, following = services.releases.versions(), None
    else:
        found, following = services.releases.page(limit or LONGEST_PAGE, cursor)
    ledger = [] if cursor is not None else _ledger(services, limit)
    return ReleaseList(
        items=_out(services, found),
        ledger=[PromotionOut.model_validate(line, from_attributes=True) for line in ledger],
        next_cursor=following,
    )


@router.get("/releases/{version}")
def show_release(
    services: ServicesDep, _principal: SignedIn, version: ReleaseVersion
) -> ReleaseOut:
    """Return a release by version or alias."""
    return _out(services, [services.releases.show(version)])[0]


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


def _ledger(services: Services, limit: int | None) -> Sequence[Promotion]:
    query = select(Promotion).order_by(Promotion.id.desc()).limit(limit)
    with services.unit_of_work.reading() as session:
        return session.scalars(query).all()


def _record(
    services: Services, origin: Origin, action: str, admin: Principal, version: str, reason: str
) -> None:
    # Recorded after the alias has moved. If this fails, the promotion ledger still names the admin.
    with services.unit_of_work() as work:
        audit_log.record(
            work.session, origin, action, actor=admin.username, target=version, reason=reason
        )


def _out(services: Services, releases: Sequence[Release]) -> list[ReleaseOut]:
    with services.unit_of_work.reading() as session:
        verdicts = training.verdicts(session, (one.version for one in releases))
        watches = _watches(session, [one.version for one in releases])
    return [
        ReleaseOut.model_validate(
            {
                **vars(one),
                "serving": services.champion.is_current(one.version),
                "verdict": verdicts.get(one.version),
                "watch": watches.get(one.version),
            }
        )
        for one in releases
    ]


def _watches(session: Session, versions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the watches over releases; each is watched at most once."""
    query = select(Promotion.version, Promotion.watch).where(Promotion.version.in_(versions))
    found = session.execute(query.order_by(Promotion.id))
    return {version: watch for version, watch in found if watch is not None}


def _promoted(services: Services, release: Release) -> ReleaseOut:
    """Describe a release that became champion, once new jobs get it.

    The registry is not asked again: if it stopped answering now, a promotion that succeeded would
    look like one that failed.
    """
    aliases = sorted({*release.aliases, CHAMPION} - {CHALLENGER})
    serving = services.champion.adopt(release.version)
    return ReleaseOut.model_validate({**vars(release), "aliases": aliases, "serving": serving})
