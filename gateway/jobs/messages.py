"""Messages of jobs: the scores that a job needs, requested from the workers."""

from collections.abc import Mapping, Sequence

from shared.contracts import ImageItem, Lane, Modality, ScoreImage, ScoreText, TextItem, WorkMessage
from shared.db.models import Job


def wanted(job: Job) -> set[Modality]:
    """Return the modalities that a job needs."""
    wants = {Modality.TEXT: job.wants_text, Modality.IMAGE: job.wants_image}
    return {modality for modality, is_wanted in wants.items() if is_wanted}


def messages_of(
    jobs: Sequence[Job], modalities: Mapping[str, set[Modality]] | None = None
) -> list[WorkMessage]:
    """Build the score requests of jobs of one user, release and lane.

    Args:
        jobs: At least one job. The message continues the trace of the first one and links to the
            traces of the others.
        modalities: Modalities to request, by job ID. By default all that the jobs need.
    """
    asked = modalities or {job.id: wanted(job) for job in jobs}
    first = jobs[0]
    traces = dict.fromkeys(job.trace_id for job in jobs)
    envelope = {
        "trace_id": first.trace_id,
        "links": tuple(traces)[1:],
        "lane": Lane(first.lane),
        "release": first.release,
        "user_id": first.user_id,
    }
    texts = tuple(
        TextItem.of(job.id, job.designation, job.description)
        for job in jobs
        if Modality.TEXT in asked[job.id]
    )
    images = tuple(
        ImageItem(job_id=job.id, uri=job.image_uri)
        for job in jobs
        if Modality.IMAGE in asked[job.id] and job.image_uri
    )
    found: list[WorkMessage] = []
    if texts:
        found.append(ScoreText.model_validate({**envelope, "items": texts}))
    if images:
        found.append(ScoreImage.model_validate({**envelope, "items": images}))
    return found
