"""Response bodies of jobs."""

from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Row

from gateway.jobs.schemas import JobError, JobOut, Result
from gateway.jobs.service import TITLE_CHARACTERS
from shared.contracts import JobAnswer
from shared.db.models import Job

log = structlog.get_logger(__name__)


def job_out(job: Job | Row[Any]) -> JobOut:
    """Return the response body of a job, or of its columns (`gateway.jobs.service.find_all`)."""
    fields: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "model": job.model,
        "release": job.release,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "result": _result(job),
        "error": _error(job),
        "label": job.label,
        "title": job.designation[:TITLE_CHARACTERS] if job.title is None else job.title,
        "has_image": job.image_uri is not None,
    }
    # Columns need no validation; `model_validate` turns the JSON of a result into objects.
    return JobOut.model_construct(**fields) if job.result is None else JobOut.model_validate(fields)


def answered(queued: JobOut, announced: str) -> JobOut | None:
    """Return the response body of a job that was queued, with its announced answer.

    Args:
        queued: The job that the request has stored or found.
        announced: The answer as JSON (`JobAnswer`).

    Returns:
        The job, or `None` if another version of Rayon has announced what this one cannot read.
    """
    try:
        answer = JobAnswer.model_validate_json(announced)
        result = _result(answer)
    except ValidationError as error:
        log.warning("announcement_unreadable", job_id=queued.id, errors=error.error_count())
        return None
    return queued.model_copy(
        update={
            "status": answer.status,
            "finished_at": answer.finished_at,
            "result": result,
            "error": _error(answer),
        }
    )


def _error(job: Job | Row[Any] | JobAnswer) -> JobError | None:
    if not job.error_code:
        return None
    return JobError(code=job.error_code, message=job.error_message or "")


def _result(job: Job | Row[Any] | JobAnswer) -> Result | None:
    if job.result is None:
        return None
    answer: dict[str, Any] = job.result
    return Result.model_validate(
        {"prdtypecode": job.prdtypecode, "confidence": job.confidence, **answer}
    )
