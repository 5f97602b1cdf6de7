"""Promotion: the one way by which a release starts to serve, for trainer and people alike."""

from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Promotion, TrainingRun
from shared.db.session import UnitOfWork, take_turns
from shared.errors import Conflict
from shared.inference.releases.access import ChampionWriter, Release

log = structlog.get_logger(__name__)


def promote(
    unit_of_work: UnitOfWork, registry: ChampionWriter, version: str, *, by: str, reason: str
) -> None:
    """Make a version the champion and write who decided it and why.

    The ledger row is committed only if the alias moved.

    Raises:
        NotFound: The registry has no such version.
        Conflict: The version was rejected, or it serves already.
        Unavailable: The registry or the database does not answer; the champion is unchanged.
    """
    release = registry.show(version)
    if release.rejected is not None:
        raise Conflict(f"Release {version} was rejected: {release.rejected}")
    with unit_of_work() as work:
        take_turns(work.session, Promotion.__tablename__)
        last = work.session.scalar(select(Promotion).order_by(Promotion.id.desc()).limit(1))
        serving = registry.champion()
        if serving == version and last is not None and last.version == version:
            raise Conflict(f"Release {version} serves already")
        # A serving version without its line: the database failed when the alias had moved.
        previous = serving if serving != version else last and last.version
        work.session.add(
            Promotion(
                version=version,
                previous_version=previous,
                promoted_by=by,
                reason=reason,
                figures=_figures(work.session, release),
            )
        )
        work.session.flush()
        registry.mark_champion(version)
    log.info("release_promoted", release=version, previous=previous, by=by, reason=reason)


def roll_back(unit_of_work: UnitOfWork, registry: ChampionWriter, *, by: str, reason: str) -> str:
    """Promote the release that served before the present one; returns its version.

    It undoes the last switch, whichever it was: a second rollback brings back what the first one
    took away.

    Raises:
        Conflict: No other release has served, or it was rejected since.
        NotFound: The registry no longer has it.
        Unavailable: The registry or the database does not answer; the champion is unchanged.
    """
    serving = registry.champion()
    with unit_of_work.reading() as session:
        before = _served_before(session, serving)
    if before is None:
        raise Conflict("No release served before this one")
    promote(unit_of_work, registry, before, by=by, reason=reason)
    return before


def _served_before(session: Session, serving: str | None) -> str | None:
    newest_first = select(Promotion).order_by(Promotion.id.desc())
    other = session.scalar(newest_first.where(Promotion.version != serving).limit(1))
    if other is not None:
        return other.version
    # Before the first line of the ledger something may have served as well.
    line = session.scalar(newest_first.where(Promotion.previous_version != serving).limit(1))
    return None if line is None else line.previous_version


def _figures(session: Session, release: Release) -> dict[str, Any]:
    """Return the release's figures and, if a training run compared it, the verdict."""
    run = session.scalar(
        select(TrainingRun)
        .where(TrainingRun.version == release.version)
        .order_by(TrainingRun.id.desc())
        .limit(1)
    )
    verdict = run.verdict if run is not None else None
    return {**release.figures} if verdict is None else {**release.figures, "verdict": verdict}
