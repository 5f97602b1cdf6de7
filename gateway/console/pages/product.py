"""Try one product, and read its answer."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from gateway.api import jobs as api
from gateway.api.explaining.explanation import explanation
from gateway.api.parameters import IfNoneMatch, Size, ThumbnailSize
from gateway.api.submission.acceptance import Sent, accept
from gateway.console import label_form
from gateway.console.form import Mistakes, fields
from gateway.console.label_form import LabelForm
from gateway.console.visit import HEADERS, SignedVisit, Visit
from gateway.console.why import Why, why_of
from gateway.identity.browser_cookie import CONSOLE
from gateway.jobs import service as jobs
from gateway.jobs.product_body import FIELDS, read_body
from gateway.jobs.schemas import JobOut
from gateway.quality import labels
from shared.categories import CategorySet
from shared.db.models import Job
from shared.errors import NotFound, RayonError, Unauthenticated, Unavailable

#: Longest time that a request waits for an answer, in seconds.
MAX_WAIT_SECONDS = 10
#: Size of the image on the page of a product, sharp at 20 rem on a screen with double resolution.
PIXELS = ThumbnailSize.LARGE

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("/try")
def ask(visit: SignedVisit) -> Response:
    """Show the form."""
    return _form(visit)


@router.post("/try")
def submit(
    visit: SignedVisit,
    form: Annotated[FormData, Depends(read_body)],
    request: Request,
) -> Response:
    """Submit the product and go to its answer."""
    try:
        job = accept(visit.services, Sent(visit.user, form, request.state.trace_id))
    except Unauthenticated:
        raise
    except RayonError as error:
        return _form(visit, error.status, form, Mistakes.of(error))
    return visit.go(f"/jobs/{job.id}")


@router.get("/jobs/{job_id}")
async def show(
    visit: SignedVisit,
    job_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0,
    labelled: str = "",
    why: str = "",
) -> Response:
    """Show a product and its answer; with `wait`, once it is there; with `why`, explained."""
    job = await api.show(visit.services, visit.user, job_id, wait)
    reasons = await _why(visit, job_id, wait) if why and job.result else Why()
    return await run_in_threadpool(
        _answer, visit, job, done="label" if labelled else "", why=reasons
    )


@router.get("/jobs/{job_id}/image")
async def image(
    visit: SignedVisit, job_id: str, size: Size = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the image of a product, or a thumbnail of it.

    The page of one product gets the uploaded image where no thumbnail of it can be made.
    """
    try:
        response = await api.image(visit.services, visit.user, job_id, size, if_none_match)
    except (NotFound, Unavailable):
        if size != PIXELS:
            raise
        response = await api.image(visit.services, visit.user, job_id, None, if_none_match)
    response.headers.update(HEADERS)
    return response


@router.post("/jobs/{job_id}/label")
async def label(
    visit: SignedVisit,
    job_id: str,
    form: Annotated[FormData, Depends(fields(*label_form.FIELDS))],
) -> Response:
    """Set or remove the true category; one that is not changed stays, also a new category."""
    sent = LabelForm.of(form)
    try:
        await run_in_threadpool(_label, visit, job_id, sent)
    except (NotFound, Unauthenticated):
        raise
    except RayonError as error:
        job = await api.show(visit.services, visit.user, job_id, 0)
        return await run_in_threadpool(
            _answer, visit, job, Why(), error.status, form=sent, mistakes=Mistakes.of(error)
        )
    away = visit.go(f"/jobs/{job_id}", labelled="1")
    away.headers["location"] += "#label"
    return away


def _label(visit: Visit, job_id: str, sent: LabelForm) -> None:
    """Set or remove a label. A refusal is that of the API, or names the fields of the form."""
    if sent.is_unchanged:
        return
    if sent.is_another:
        labels.require_may_add_categories(visit.user)
        true = sent.new_label(_categories(visit, _found(visit, job_id)))
    else:
        true = sent.listed_label()
    api.label(visit.services, visit.user, visit.origin, job_id, true)


def _found(visit: Visit, job_id: str) -> Job:
    with visit.services.unit_of_work.reading() as session:
        return jobs.find(session, visit.user, job_id)


def _categories(visit: Visit, job: Job) -> CategorySet:
    return visit.services.releases.manifest(job.release).category_set


def _form(
    visit: Visit,
    status: int = 200,
    sent: FormData | None = None,
    mistakes: Mistakes | None = None,
) -> Response:
    form = sent or FormData()
    values = {name: str(form.get(name, "")) for name in FIELDS if name != "image"}
    return visit.page(
        "try.html",
        status,
        values=values,
        mistakes=mistakes or Mistakes(),
        max_bytes=visit.services.settings.max_image_bytes,
    )


async def _why(visit: Visit, job_id: str, wait: float) -> Why:
    """Return what spoke for an answer. A refusal belongs into that part of the page."""
    try:
        return why_of(await explanation(visit.services, visit.user, job_id, wait))
    except Unauthenticated:
        raise
    except RayonError as error:
        return Why(problem=error.detail)


def _answer(
    visit: Visit, shown: JobOut, why: Why, status_code: int = 200, **changes: Any
) -> Response:
    job = _found(visit, shown.id)
    context: dict[str, Any] = {
        "job": shown,
        "product": job,
        "names": {one.code: one.name for one in _categories(visit, job).categories},
        "done": "",
        "why": why,
        "form": LabelForm("" if shown.label is None else str(shown.label)),
        "another": label_form.ANOTHER,
        "mistakes": Mistakes(),
        "wait": MAX_WAIT_SECONDS,
        "pixels": int(PIXELS),
        "examples": _examples(visit, job),
    }
    return visit.page("job.html", status_code, **{**context, **changes})


def _examples(visit: Visit, job: Job) -> dict[str, str]:
    """Return the same request as a shell command and as Python."""
    address = str(visit.request.base_url).rstrip("/")
    texts = {
        name: value
        for name in ("designation", "description")
        if (value := getattr(job, name)) is not None and value
    }
    form = " \\\n  ".join(
        [f"--form-string {_quoted(f'{name}={value}')}" for name, value in texts.items()]
        + (["--form image=@image.jpg"] if job.image_uri else [])
    )
    names = {"designation": "title"}
    values = {names.get(name, name): value for name, value in texts.items()}
    values |= {"image": "image.jpg"} if job.image_uri else {}
    arguments = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )
    return {
        "curl": f'curl {address}/v1/jobs \\\n  -H "X-API-Key: $RAYON_API_KEY" \\\n  {form}',
        "python": (
            "from rayon import Rayon\n\n"
            f'with Rayon("{address}", key="…") as rayon:\n'
            f"    print(rayon.classify({arguments}).category)"
        ),
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
