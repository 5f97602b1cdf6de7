"""Promotion and rollback, the only way for the trainer or a person to change the champion.

The decision is recorded first, as a pending line of the ledger; then the registry moves its alias;
then the line is marked as done. No transaction is open while the registry is called, because other
writers would wait for it. `reconcile` finishes what a crash or a silent registry interrupted.
"""

import time
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.db.models import Promotion, TrainingRun, now
from shared.db.session import UnitOfWork, take_turns
from shared.errors import Conflict, NotFound, Unavailable
from shared.inference.releases.access import ChampionReader, ChampionWriter, Release
from shared.lifecycle.bounded import within
from shared.lifecycle.ledger import append, mark_done, newest, served_before

log = structlog.get_logger(__name__)

REGISTRY = "model registry"
#: Longest time of one call of the registry.
CALL_SECONDS = 5.0
#: Longest wait for another promotion, and the interval between looks at it.
TURN_SECONDS, LOOK_SECONDS = 10.0, 0.1
#: A pending promotion of this age was interrupted. Calls of the registry that were given up have
#: ended by then, so none of them moves the alias after a later promotion.
ABANDONED = timedelta(seconds=60)
#: Name in the ledger of those who moved the alias without Rayon.
OUTSIDE = "registry"


class Superseded(Conflict):
    """Another promotion came after the one that this one should follow."""


def promote(
    unit_of_work: UnitOfWork,
    registry: ChampionWriter,
    version_or_alias: str,
    *,
    by: str,
    reason: str,
    only_after: str | None = None,
) -> Release:
    """Make a release the champion, record the person and the reason, and return the release.

    Its aliases are those of before.

    Args:
        unit_of_work: Database of the ledger.
        registry: Registry that moves the alias.
        version_or_alias: The release.
        by: Person or program that promotes it.
        reason: Reason for the ledger.
        only_after: ID of the promotion that must still be the newest, and whose release must still
            be the champion; `None` to promote after any.

    Raises:
        NotFound: The registry has no such version.
        Conflict: The version was rejected, or it is already the champion.
        Superseded: The champion has changed since `only_after`.
        Unavailable: The registry or the database does not answer. The champion is unchanged, unless
            the error says that the promotion is recorded: then `reconcile` finishes it.
    """
    release = within(CALL_SECONDS, lambda: registry.show(version_or_alias), dependency=REGISTRY)
    if release.rejected is not None:
        raise Conflict(f"Release {release.version} was rejected: {release.rejected}")
    line = _decide(unit_of_work, registry, release, by=by, reason=reason, only_after=only_after)
    if line is not None:
        _carry_out(unit_of_work, registry, line)
    return release


def roll_back(
    unit_of_work: UnitOfWork,
    registry: ChampionWriter,
    *,
    by: str,
    reason: str,
    only_after: str | None = None,
) -> Release:
    """Promote the previous champion and return it.

    A rollback undoes the last change of the champion, so a second rollback undoes the first. One
    that was decided for a certain promotion names it as `only_after`, as for `promote`.

    Raises:
        Conflict: There was no other champion, or it was rejected since.
        Superseded: The champion has changed since `only_after`.
        NotFound: The registry no longer has it.
        Unavailable: Like that of `promote`.
    """
    _await_turn(unit_of_work, registry)
    serving = _champion(registry)
    with unit_of_work.reading() as session:
        before = served_before(session, serving)
    if before is None:
        raise Conflict("There is no earlier champion to roll back to")
    return promote(unit_of_work, registry, before, by=by, reason=reason, only_after=only_after)


def reconcile(unit_of_work: UnitOfWork, registry: ChampionWriter) -> None:
    """Finish an interrupted promotion, or record a champion that the ledger does not know.

    The ledger decides what a pending promotion leads to. If none is pending, the registry decides
    what serves: somebody has moved the alias there, and the ledger follows.

    Raises:
        Unavailable: The registry or the database does not answer; the next call tries again.
    """
    with unit_of_work.reading() as session:
        last = newest(session)
    if last is None:
        return
    if last.is_pending:
        if _is_abandoned(last):
            _finish(unit_of_work, registry, last)
        return
    serving = _champion(registry)
    if serving is not None and serving != last.version:
        _record_move(unit_of_work, last, serving)


def _decide(
    unit_of_work: UnitOfWork,
    registry: ChampionWriter,
    release: Release,
    *,
    by: str,
    reason: str,
    only_after: str | None,
) -> Promotion | None:
    """Append a pending promotion to the ledger; `None` if an interrupted one was just finished.

    Raises:
        Conflict: The release is already the champion.
        Superseded: The champion has changed since `only_after`.
    """
    version = release.version
    while True:
        turn = _await_turn(unit_of_work, registry)
        if turn.finished == version:
            return None
        serving = _champion(registry)
        with unit_of_work() as work:
            take_turns(work.session, Promotion.__tablename__)
            last = newest(work.session)
            if (last.id if last else None) != turn.newest:
                # Another promotion came in between, so this one follows that one.
                continue
            if only_after is not None:
                _require_champion_of(only_after, last, serving)
            if serving == version and last is not None and last.version == version:
                raise Conflict(f"Release {version} is already the champion")
            line = Promotion(
                version=version,
                # A champion without a line was promoted by somebody else, or by an older version.
                previous_version=serving if serving != version else last and last.version,
                promoted_by=by,
                reason=reason,
                figures=_figures(work.session, release),
                is_pending=True,
            )
            append(work.session, line, last)
        return line


def _require_champion_of(promotion: str, last: Promotion | None, serving: str | None) -> None:
    if last is None or last.id != promotion or last.version != serving:
        raise Superseded(f"The champion has changed since the promotion {promotion}")


class _Turn(NamedTuple):
    """ID of the newest promotion, and the release of the one that was finished, if any."""

    newest: str | None
    finished: str | None


def _await_turn(unit_of_work: UnitOfWork, registry: ChampionWriter) -> _Turn:
    """Wait until no promotion is pending, and finish one that was interrupted.

    Raises:
        Unavailable: Another promotion takes too long.
    """
    give_up, finished = time.monotonic() + TURN_SECONDS, None
    while True:
        with unit_of_work.reading() as session:
            last = newest(session)
        if last is None or not last.is_pending:
            return _Turn(None if last is None else last.id, finished)
        if _is_abandoned(last):
            finished = last.version if _finish(unit_of_work, registry, last) else None
        elif time.monotonic() > give_up:
            raise Unavailable(
                f"The promotion of release {last.version} is not finished yet",
                retry_after_seconds=round(ABANDONED.total_seconds()),
            )
        else:
            time.sleep(LOOK_SECONDS)


def _is_abandoned(line: Promotion) -> bool:
    # One from the future was recorded before the clock was set back.
    return not timedelta(0) <= now() - line.promoted_at < ABANDONED


def _finish(unit_of_work: UnitOfWork, registry: ChampionWriter, line: Promotion) -> bool:
    """Carry out an interrupted promotion; if its release was deleted, withdraw it."""
    try:
        within(CALL_SECONDS, lambda: registry.show(line.version), dependency=REGISTRY)
        _carry_out(unit_of_work, registry, line)
    except NotFound as error:
        _withdraw(unit_of_work, line)
        log.warning("promotion_withdrawn", release=line.version, error=error.detail)
        return False
    log.warning("promotion_finished_later", release=line.version, by=line.promoted_by)
    return True


def _carry_out(unit_of_work: UnitOfWork, registry: ChampionWriter, line: Promotion) -> None:
    """Move the alias and mark the promotion as done. Raises `NotFound` or `Unavailable`."""
    try:
        within(CALL_SECONDS, lambda: registry.mark_champion(line.version), dependency=REGISTRY)
    except NotFound:
        _withdraw(unit_of_work, line)
        raise
    except Unavailable as error:
        if not _is_champion(registry, line.version):
            raise Unavailable(
                f"The promotion of release {line.version} is recorded, and is carried out once the "
                f"registry answers: {error.detail}",
                retry_after_seconds=round(ABANDONED.total_seconds()),
            ) from error
    try:
        with unit_of_work() as work:
            mark_done(work.session, line)
    except Unavailable as error:
        # The alias has moved and the decision is recorded, so the promotion has succeeded.
        log.warning("promotion_left_pending", release=line.version, error=error.detail)
    log.info(
        "release_promoted",
        release=line.version,
        previous=line.previous_version,
        by=line.promoted_by,
        reason=line.reason,
    )


def _withdraw(unit_of_work: UnitOfWork, line: Promotion) -> None:
    with unit_of_work() as work:
        work.session.execute(delete(Promotion).where(Promotion.id == line.id, Promotion.is_pending))


def _record_move(unit_of_work: UnitOfWork, last: Promotion, serving: str) -> None:
    """Record that the alias was moved outside of Rayon, unless a promotion came in between."""
    with unit_of_work() as work:
        take_turns(work.session, Promotion.__tablename__)
        known = newest(work.session)
        if known is None or known.id != last.id:
            return
        line = Promotion(
            version=serving,
            previous_version=last.version,
            promoted_by=OUTSIDE,
            reason="The alias was moved in the registry, without Rayon",
            figures={},
        )
        append(work.session, line, known)
    log.warning("champion_moved_outside", release=serving, previous=last.version)


def _champion(registry: ChampionReader) -> str | None:
    return within(CALL_SECONDS, registry.champion, dependency=REGISTRY)


def _is_champion(registry: ChampionReader, version: str) -> bool:
    try:
        return _champion(registry) == version
    except Unavailable:
        return False


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
