"""`POST /v1/jobs`: submit a product, and wait for its category if the client prefers to."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from gateway.api.jobs import PREFIX, read_all
from gateway.api.parameters import MAX_WAIT_SECONDS, IdempotencyKey, Prefer
from gateway.api.services import Services, ServicesDep, SignedIn, authenticated
from gateway.api.submission.acceptance import Sent, accept, accept_all
from gateway.identity.principal import Principal
from gateway.jobs.preferences import preferred_wait
from gateway.jobs.product_body import PRODUCT_BODY, may_have_image, sent_body
from gateway.jobs.responses import answered
from gateway.jobs.schemas import JobOut
from gateway.web.openapi import documented_headers
from shared.db.models import JobStatus
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

KEY_HEADER = "idempotency-key"
_KEY: TypeAdapter[str | None] = TypeAdapter(IdempotencyKey)
#: OpenAPI responses of a submission.
SUBMITTED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The final job, which has a `result` or an `error`. Only with "
        "`Prefer: wait`.",
        "model": JobOut,
        "headers": documented_headers("Location", "Preference-Applied"),
    },
    202: {"headers": documented_headers("Location", "Preference-Applied")},
}


class SubmissionRoute(APIRoute):
    """Route that calls `submit` itself.

    FastAPI documents the parameters. To resolve and validate them, and to validate the response,
    would take as long as to store the job.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request. Overrides the method of FastAPI."""
        return _answer


router = APIRouter(prefix=PREFIX, tags=["jobs"], route_class=SubmissionRoute)


async def _answer(request: Request) -> Response:
    return await submit(
        request.app.state.services,
        await authenticated(request),
        request,
        _idempotency_key(request),
        request.headers.get("prefer"),
    )


@router.post(
    "", status_code=202, response_model=JobOut, responses=SUBMITTED, openapi_extra=PRODUCT_BODY
)
async def submit(
    services: ServicesDep,
    principal: SignedIn,
    request: Request,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Submit a product for classification, by text, image or both, as a form or as JSON.

    The response comes before the classification. Read the category with
    `GET /v1/jobs/{job_id}?wait=10`, or send `Prefer: wait=10` to get it in this response.
    """
    # The body is read in a function of its own, so that it is freed while the client waits.
    job = await _accepted(services, principal, request, idempotency_key)
    headers = {"Location": f"{PREFIX}/{job.id}"}
    seconds = preferred_wait(prefer, MAX_WAIT_SECONDS)
    if not seconds or not services.long_polls.has_room:
        # The preference is not applied: the job is stored, and its client can ask again.
        return _response(job, 202, headers)
    final = await _waited(services, principal, request, job, seconds)
    headers["Preference-Applied"] = f"wait={seconds:g}"
    return _response(final, 202 if final.status == JobStatus.QUEUED.value else 201, headers)


def _response(job: JobOut, status: int, headers: dict[str, str]) -> Response:
    content = job.model_dump_json()
    return Response(content, status, headers, media_type="application/json")


def _idempotency_key(request: Request) -> str | None:
    """Return the key of a request. Raises `RequestValidationError`."""
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    try:
        return _KEY.validate_python(key)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("header", KEY_HEADER)} for one in error.errors()]
        ) from error


async def _accepted(
    services: Services, principal: Principal, request: Request, idempotency_key: str | None
) -> JobOut:
    """Read a product and store its job, with others where nothing may hold these up."""
    async with sent_body(request) as body:
        sent = Sent(principal, body, request.state.trace_id)
        if idempotency_key is None and not may_have_image(body):
            job = await services.grouped(accept_all).of(sent)
            if job is not None:
                return job
        # Storing an image and looking up a release take time; a key needs a query of its own.
        return await services.submitting.run(lambda: accept(services, sent, idempotency_key))


async def _waited(
    services: Services, principal: Principal, request: Request, job: JobOut, seconds: float
) -> JobOut:
    """Return a stored job once it is final, or as it is after some seconds."""
    if job.status != JobStatus.QUEUED.value:
        return job
    started = time.perf_counter()
    try:
        announced = await services.long_polls.until_final(job.id, seconds)
        # The time of a submission is measured without the wait that its client asked for.
        request.state.waited_seconds = waited = time.perf_counter() - started
        if announced is not None and not job.has_image:
            services.jobs.outbox.observe_wait(waited)
        if announced is not None and (final := answered(job, announced)) is not None:
            return final
        return await services.grouped(read_all).of((principal, job.id))
    except Unavailable as error:
        # An error would suggest that the job was not accepted.
        log.warning("wait_ended", error=error.detail)
        return job
