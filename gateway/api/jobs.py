"""Jobs: single products."""

from collections.abc import Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from gateway.api.parameters import (
    KEPT_IMAGE,
    Cursor,
    IfNoneMatch,
    JobId,
    Limit,
    Size,
    Wait,
    etag_of,
    kept_image,
    same_image,
)
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import audit_log
from gateway.identity.principal import Principal
from gateway.jobs import service as jobs
from gateway.jobs.responses import job_out
from gateway.jobs.schemas import JobOut, JobPage
from gateway.jobs.thumbnails import Wanted
from gateway.quality import labels
from gateway.quality.schemas.labels import LabelIn
from shared.categories import CategorySet
from shared.db.models import JobStatus
from shared.errors import NotFound

log = structlog.get_logger(__name__)

PREFIX = "/v1/jobs"
router = APIRouter(prefix=PREFIX, tags=["jobs"])


@router.get("")
def list_jobs(
    services: ServicesDep,
    principal: SignedIn,
    status: Annotated[
        JobStatus | None, Query(description="Status of the jobs; all by default.")
    ] = None,
    catalog: Annotated[
        str | None, Query(description="ID of a catalog, to list only its jobs; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> JobPage:
    """List your jobs, newest first."""
    with services.unit_of_work.reading() as session:
        found, following = jobs.page(session, principal, status, cursor, limit, catalog)
        return JobPage(items=[job_out(job) for job in found], next_cursor=following)


@router.get("/{job_id}")
async def show(
    services: ServicesDep,
    principal: SignedIn,
    job_id: JobId,
    wait: Wait = 0,
) -> JobOut:
    """Return a job. With `wait`, respond as soon as it is final."""
    found = await services.grouped(read_all).of((principal, job_id))
    if wait and found.status == JobStatus.QUEUED.value:
        await services.long_polls.until_final(job_id, wait)
        found = await services.grouped(read_all).of((principal, job_id))
    return found


@router.get("/{job_id}/image", response_class=Response, responses=KEPT_IMAGE)
async def image(
    services: ServicesDep,
    principal: SignedIn,
    job_id: JobId,
    size: Size = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the image of a job as it was uploaded, or a thumbnail of it."""
    uri, is_row = await run_in_threadpool(_image_of, services, principal, job_id)
    etag = etag_of(uri, size)
    if if_none_match is not None and etag in if_none_match:
        return same_image(etag, may_change=is_row)
    if size is None:
        content = await run_in_threadpool(services.storage.get, uri)
    else:
        content = await services.thumbnails.of(
            services.storage, services.broker, Wanted(job_id, uri, int(size), principal.id)
        )
    return kept_image(content, etag, may_change=is_row)


@router.delete("/{job_id}")
def cancel(services: ServicesDep, principal: SignedIn, job_id: JobId) -> JobOut:
    """Cancel a job. A final job is returned unchanged."""
    with services.unit_of_work() as work:
        cancelled = jobs.cancel(work.session, principal, job_id)
        work.announce([job_id])
    return job_out(cancelled)


@router.put("/{job_id}/label")
def label(
    services: ServicesDep, principal: SignedIn, origin: OriginDep, job_id: JobId, true: LabelIn
) -> JobOut:
    """Set the true category of a job by its code or name, or remove it with `null`.

    Users label their own jobs; operators also label jobs selected for review, and may state a
    category that the release does not have yet (`new_category`).
    """
    true.require_stated()
    if true.new_category:
        labels.require_may_add_categories(principal)
    # Read before the transaction, because the registry may have to be asked.
    known = None if true.is_removed else _categories(services, principal, job_id)
    code = None if known is None else labels.code_of(true, known)
    with services.unit_of_work() as work:
        job = labels.find(work.session, principal, job_id)
        if code is None or known is None:
            labels.forget(work.session, job, principal)
        else:
            labels.write(work.session, job, code, principal, known, is_new=true.new_category)
        if job.user_id != principal.id:
            audit_log.record(
                work.session,
                origin,
                "job.label",
                actor=principal.username,
                target=job_id,
                prdtypecode=code,
            )
    return job_out(job)


def _categories(services: Services, principal: Principal, job_id: str) -> CategorySet:
    """Return the categories of the release of a job. Raises `NotFound`."""
    with services.unit_of_work.reading() as session:
        release = labels.find(session, principal, job_id).release
    return services.releases.manifest(release).category_set


def _image_of(services: Services, principal: Principal, job_id: str) -> tuple[str, bool]:
    """Return the address of a job's image, and True if the job is a row of a catalog."""
    with services.unit_of_work.reading() as session:
        job = jobs.find(session, principal, job_id)
    if job.image_uri is None:
        raise NotFound(f"No image of job {job_id!r}: it was sent without one, or it was deleted")
    return job.image_uri, job.catalog_id is not None


def read_all(
    services: Services, wanted: Sequence[tuple[Principal, str]]
) -> list[JobOut | Exception]:
    """Return the response bodies of jobs, each as its principal may see it, or the errors."""
    with services.unit_of_work.querying() as connection:
        found = jobs.find_all(connection, wanted)
        return [one if isinstance(one, NotFound) else job_out(one) for one in found]
