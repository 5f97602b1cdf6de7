"""Response bodies of jobs."""

from typing import Any

from sqlalchemy import Row

from gateway.jobs.schemas import JobError, JobOut, Result
from gateway.jobs.service import TITLE_CHARACTERS
from shared.db.models import Job


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
        "error": JobError(code=job.error_code, message=job.error_message or "")
        if job.error_code
        else None,
        "label": job.label,
        "title": job.designation[:TITLE_CHARACTERS] if job.title is None else job.title,
        "has_image": job.image_uri is not None,
    }
    # Columns need no validation; `model_validate` turns the JSON of a result into objects.
    return JobOut.model_construct(**fields) if job.result is None else JobOut.model_validate(fields)


def _result(job: Job | Row[Any]) -> Result | None:
    if job.result is None:
        return None
    answer: dict[str, Any] = job.result
    return Result.model_validate(
        {"prdtypecode": job.prdtypecode, "confidence": job.confidence, **answer}
    )
