"""Queues and dead letters, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from gateway.api.parameters import Cursor, LetterId, Limit
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.principal import Origin, Principal
from gateway.operations import dead_letter_groups, dead_letters, queues
from gateway.operations.schemas import (
    DeadLetterGroups,
    DeadLetterList,
    DeadLetterOut,
    DeadLetterReport,
    DeadLettersHandled,
    GroupSelection,
    QueueList,
)

#: Reason that an operator may state.
StatedReason = Annotated[
    str,
    Query(max_length=500, description="Reason, which is stored in the audit log; none by default."),
]

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get("/queues")
def list_queues(services: ServicesDep, _operator: SignedIn) -> QueueList:
    """Return the waiting and running messages of each queue, the workers and all processes."""
    with services.unit_of_work.reading() as session:
        return queues.overview(services.broker, session, services.settings.expected_processes)


@router.get("/dead-letters")
def list_dead_letters(
    services: ServicesDep,
    _operator: SignedIn,
    topic: Annotated[
        str | None, Query(max_length=64, description="Topic of the messages; all by default.")
    ] = None,
    error: Annotated[
        str | None, Query(max_length=2_000, description="Error of the messages; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> DeadLetterList:
    """List dead letters, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = dead_letters.page(session, cursor, limit, topic, error)
        about = dead_letters.references(session, found)
        items = [
            DeadLetterOut.model_validate(vars(one) | vars(reference))
            for one, reference in zip(found, about, strict=True)
        ]
    return DeadLetterList(items=items, next_cursor=following)


@router.get("/dead-letters/groups")
def list_groups(services: ServicesDep, _operator: SignedIn) -> DeadLetterGroups:
    """Group dead letters by topic and error, with the fate of their jobs."""
    with services.unit_of_work.reading() as session:
        return DeadLetterGroups(items=dead_letter_groups.groups(session))


@router.post("/dead-letters/replay")
def replay_group(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, wanted: GroupSelection
) -> DeadLettersHandled:
    """Send the dead letters of a group again and queue their failed jobs, at most 1,000 at once.

    Those that this version cannot read stay.
    """
    handled = dead_letter_groups.replay(
        services.unit_of_work, wanted, lease_seconds=services.jobs.lease_seconds
    )
    _record_group(services, operator, origin, "dead_letter.replay_group", wanted, handled)
    return handled


@router.post("/dead-letters/discard")
def discard_group(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, wanted: GroupSelection
) -> DeadLettersHandled:
    """Discard the dead letters of a group, at most 1,000 at once. Their jobs stay as they are."""
    handled = dead_letter_groups.discard(services.unit_of_work, wanted)
    _record_group(services, operator, origin, "dead_letter.discard_group", wanted, handled)
    return handled


@router.get("/dead-letters/{letter_id}")
def show_dead_letter(
    services: ServicesDep, _operator: SignedIn, letter_id: LetterId
) -> DeadLetterReport:
    """Return a dead letter with its jobs, counted by status."""
    with services.unit_of_work.reading() as session:
        letter = dead_letters.find(session, letter_id)
        (reference,) = dead_letters.references(session, [letter])
        jobs = dead_letters.statuses(session, reference.job_ids)
        return DeadLetterReport.model_validate(vars(letter) | vars(reference) | {"jobs": jobs})


@router.post("/dead-letters/{letter_id}/replay", status_code=202, response_class=Response)
def replay(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    letter_id: LetterId,
    reason: StatedReason = "",
) -> Response:
    """Send a dead letter again and queue its failed jobs. The dead letter is removed."""
    with services.unit_of_work() as work:
        dead_letters.replay(work, letter_id, lease_seconds=services.jobs.lease_seconds)
        _record(work.session, operator, origin, "dead_letter.replay", letter_id, reason)
    return Response(status_code=202)


@router.delete("/dead-letters/{letter_id}", status_code=204)
def discard(
    services: ServicesDep,
    operator: SignedIn,
    origin: OriginDep,
    letter_id: LetterId,
    reason: StatedReason = "",
) -> Response:
    """Discard a dead letter. Its jobs stay as they are."""
    with services.unit_of_work() as work:
        dead_letters.discard(work.session, letter_id)
        _record(work.session, operator, origin, "dead_letter.discard", letter_id, reason)
    return Response(status_code=204)


def _record(
    session: Session,
    operator: Principal,
    origin: Origin,
    action: str,
    letter_id: str,
    reason: str,
) -> None:
    details = {"reason": reason} if reason else {}
    audit_log.record(session, origin, action, actor=operator.username, target=letter_id, **details)


def _record_group(
    services: Services,
    operator: Principal,
    origin: Origin,
    action: str,
    wanted: GroupSelection,
    handled: DeadLettersHandled,
) -> None:
    with services.unit_of_work() as work:
        audit_log.record(
            work.session,
            origin,
            action,
            actor=operator.username,
            target=wanted.topic,
            error=wanted.error[:200],
            reason=wanted.reason,
            handled=handled.handled,
        )
