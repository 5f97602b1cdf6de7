"""Explanations: what spoke for the answer to a job."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from gateway.api.jobs import PREFIX
from gateway.api.parameters import JobId, Wait
from gateway.api.services import Services, ServicesDep, SignedIn
from gateway.identity.principal import Principal
from gateway.jobs.explanation_schemas import ExplanationOut, ImageExplained, Status, TextExplained
from gateway.jobs.schemas import JobError
from shared.contracts import Modality
from shared.db.models import Explanation, ExplanationStatus, Job

router = APIRouter(prefix=PREFIX, tags=["jobs"])


@router.get("/{job_id}/explanation")
async def explanation(
    services: ServicesDep, principal: SignedIn, job_id: JobId, wait: Wait = 0
) -> ExplanationOut:
    """Return which words and which parts of the image spoke for the answer to a job.

    The first request asks the workers, which score the product without each part; later ones read
    what is stored. With `wait`, respond as soon as it is `done` or `failed`. 409 if the job has no
    answer, 404 if its product was deleted, 429 and 503 with `Retry-After` if too many explanations
    are in progress. One that has failed is tried again by a request a minute later.
    """
    found = await run_in_threadpool(_out, services, principal, job_id)
    if wait and found.status == ExplanationStatus.QUEUED.value:
        await services.explanations.polls.until_final(job_id, wait)
        found = await run_in_threadpool(_out, services, principal, job_id)
    return found


def _out(services: Services, principal: Principal, job_id: str) -> ExplanationOut:
    job, rows = services.explanations.of(principal, job_id)
    return explanation_out(job, rows)


def explanation_out(job: Job, rows: Sequence[Explanation]) -> ExplanationOut:
    """Return the response body of an explanation; `rows` has at least one row."""
    parts = {row.modality: _part(row) for row in rows}
    text, image = parts.get(Modality.TEXT.value), parts.get(Modality.IMAGE.value)
    return ExplanationOut(
        job_id=job.id,
        status=_status([row.status for row in rows]),
        prdtypecode=job.prdtypecode or 0,
        category=(job.result or {})["category"],
        release=job.release,
        requested_at=min(row.requested_at for row in rows),
        text=None if text is None else TextExplained.model_validate(text),
        image=None if image is None else ImageExplained.model_validate(image),
    )


def _part(row: Explanation) -> Mapping[str, Any]:
    error = None
    if row.error_code:
        error = JobError(code=row.error_code, message=row.error_message or "")
    return {
        "status": row.status,
        "probability": row.probability,
        "error": error,
        **(row.content or {}),
    }


def _status(found: Sequence[str]) -> Status:
    if ExplanationStatus.QUEUED.value in found:
        return "queued"
    return "done" if ExplanationStatus.DONE.value in found else "failed"
