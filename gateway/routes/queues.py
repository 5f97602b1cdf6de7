"""Queues and dead letters, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway import audit, queues
from gateway.schemas import DeadLetterList, DeadLetterOut, QueueList
from gateway.services import OriginDep, ServicesDep, SignedIn

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get("/queues")
def list_queues(services: ServicesDep, _operator: SignedIn) -> QueueList:
    """What waits, what runs, and which workers are proven to consume."""
    with services.unit_of_work.reading() as session:
        return queues.overview(services.broker, session)


@router.get("/dead-letters")
def list_dead_letters(
    services: ServicesDep,
    _operator: SignedIn,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeadLetterList:
    """Messages that were given up, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = queues.dead_letters(session, cursor, limit)
        return DeadLetterList(
            items=[DeadLetterOut.model_validate(one, from_attributes=True) for one in found],
            next_cursor=following,
        )


@router.post("/dead-letters/{letter_id}/replay", status_code=202, response_class=Response)
def replay(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, letter_id: str
) -> Response:
    """Send a dead letter again; its failed jobs are queued once more."""
    with services.unit_of_work() as work:
        queues.replay(work, letter_id, lease_seconds=services.jobs.lease_seconds)
        audit.record(
            work.session, origin, "dead_letter.replay", actor=operator.username, target=letter_id
        )
    return Response(status_code=202)


@router.delete("/dead-letters/{letter_id}", status_code=204)
def discard(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, letter_id: str
) -> Response:
    """Throw a dead letter away."""
    with services.unit_of_work() as work:
        queues.discard(work.session, letter_id)
        audit.record(
            work.session, origin, "dead_letter.discard", actor=operator.username, target=letter_id
        )
    return Response(status_code=204)
