"""Promotion: the one way by which a release starts to serve, for trainer and people alike."""

from typing import Protocol

import structlog
from sqlalchemy import select

from shared.db.models import Promotion
from shared.db.session import UnitOfWork
from shared.inference.manifest import ReleaseManifest

log = structlog.get_logger(__name__)


class Registry(Protocol):
    """What promotion needs of `shared.inference.releases.Releases`."""

    def manifest(self, version: str) -> ReleaseManifest:
        """What a version says of itself. Raises `NotFound`."""

    def mark_champion(self, version: str) -> None:
        """Move the alias."""


def promote(
    unit_of_work: UnitOfWork, registry: Registry, version: str, *, by: str, reason: str
) -> None:
    """Make a version the champion and write who decided it and why.

    The ledger row is committed only if the alias moved.

    Raises:
        NotFound: The registry has no such version.
        Unavailable: The registry or the database does not answer; the champion is unchanged.
    """
    figures = registry.manifest(version).figures
    with unit_of_work() as work:
        last = work.session.scalar(select(Promotion).order_by(Promotion.id.desc()).limit(1))
        work.session.add(
            Promotion(
                version=version,
                previous_version=last.version if last else None,
                promoted_by=by,
                reason=reason,
                figures=dict(figures),
            )
        )
        work.session.flush()
        registry.mark_champion(version)
    log.info("release_promoted", release=version, by=by, reason=reason)
