"""Promotion and rollback, the only way for the trainer or a person to change the champion."""

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
    """Make a version the champion, and record the person and the reason.

    The promotion is committed only if the registry changed the alias.

    Raises:
        NotFound: The registry has no such version.
        Conflict: The version was rejected, or it is already the champion.
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
            raise Conflict(f"Release {version} is already the champion")
        # The champion lacks a promotion row if the database failed after the alias had changed.
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
    """Promote the previous champion and return its version.

    A rollback undoes the last change of the champion, so a second rollback undoes the first.

    Raises:
        Conflict: There was no other champion, or it was rejected since.
        NotFound: The registry no longer has it.
        Unavailable: The registry or the database does not answer; the champion is unchanged.
    """
    serving = registry.champion()
    with unit_of_work.reading() as session:
        before = _served_before(session, serving)
    if before is None:
        raise Conflict("There is no earlier champion to roll back to")
    promote(unit_of_work, registry, before, by=by, reason=reason)
    return before


def _served_before(session: Session, serving: str | None) -> str | None:
    newest_first = select(Promotion).order_by(Promotion.id.desc())
    other = session.scalar(newest_first.where(Promotion.version != serving).limit(1))
    if other is not None:
        return other.version
    # A release may have served before the first promotion was recorded.
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
