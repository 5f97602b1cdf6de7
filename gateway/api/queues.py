"""Queues and dead letters, for operators."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.api.services import OriginDep, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.operations import dead_letters, queues
from gateway.operations.schemas import DeadLetterList, DeadLetterOut, DeadLetterReport, QueueList

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get("/queues")
def list_queues(services: ServicesDep, _operator: SignedIn) -> QueueList:
    """Return waiting and running messages, and the workers that are proven to consume."""
    with services.unit_of_work.reading() as session:
        return queues.overview(services.broker, session)


@router.get("/dead-letters")
def list_dead_letters(
    services: ServicesDep,
    _operator: SignedIn,
    topic: Annotated[str | None, Query(max_length=64, description="Topic of the messages.")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeadLetterList:
    """List dead letters, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = dead_letters.page(session, cursor, limit, topic)
        about = dead_letters.references(session, found)
        items = [
            DeadLetterOut.model_validate(vars(one) | vars(reference))
            for one, reference in zip(found, about, strict=True)
        ]
    return DeadLetterList(items=items, next_cursor=following)


@router.get("/dead-letters/{letter_id}")
def show_dead_letter(
    services: ServicesDep, _operator: SignedIn, letter_id: str
) -> DeadLetterReport:
    """Return a dead letter with the states of its jobs."""
    with services.unit_of_work.reading() as session:
        letter = dead_letters.find(session, letter_id)
        (reference,) = dead_letters.references(session, [letter])
        jobs = dead_letters.statuses(session, reference.job_ids)
        return DeadLetterReport.model_validate(vars(letter) | vars(reference) | {"jobs": jobs})


@router.post("/dead-letters/{letter_id}/replay", status_code=202, response_class=Response)
def replay(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, letter_id: str
) -> Response:
    """Replay a dead letter; its failed jobs are queued again."""
    with services.unit_of_work() as work:
        dead_letters.replay(work, letter_id, lease_seconds=services.jobs.lease_seconds)
        audit_log.record(
            work.session, origin, "dead_letter.replay", actor=operator.username, target=letter_id
        )
    return Response(status_code=202)


@router.delete("/dead-letters/{letter_id}", status_code=204)
def discard(
    services: ServicesDep, operator: SignedIn, origin: OriginDep, letter_id: str
) -> Response:
    """Discard a dead letter."""
    with services.unit_of_work() as work:
        dead_letters.discard(work.session, letter_id)
        audit_log.record(
            work.session, origin, "dead_letter.discard", actor=operator.username, target=letter_id
        )
    return Response(status_code=204)
