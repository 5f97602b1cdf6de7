"""Commands `rayon classify`, `rayon jobs` and `rayon cancel`."""

from itertools import islice
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from rayon.answers import Answer, Job, JobStatus
from rayon.cli.exits import INCOMPLETE
from rayon.cli.options import AsJson, Model, ReleaseName, Url, connected
from rayon.cli.screen import Screen, percent
from rayon.client import Rayon
from rayon.errors import Failed, Refused, Unfinished

#: Number of runner-up categories to show.
RUNNERS_UP = 2


def classify(
    title: Annotated[str, Argument(help="Title of the product.")] = "",
    description: Annotated[
        str, Option("--description", "-d", help="Description of the product.")
    ] = "",
    image: Annotated[
        Path | None,
        Option(
            "--image",
            "-i",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Image file of the product.",
        ),
    ] = None,
    model: Model = "fusion",
    release: ReleaseName = "champion",
    wait: Annotated[float, Option("--wait", min=0, help="Seconds to wait for the answer.")] = 60,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Classify one product.

    In a pipe the output is code, category and confidence, separated by tabs.
    """
    if not (title.strip() or description.strip() or image):
        raise BadParameter("Expected a title, a description or an image. Received none of them.")
    screen = Screen()
    with connected(url, screen) as client:
        job = client.submit(
            title, description, image, model=model, release=release, wait_seconds=wait
        )
    if as_json:
        screen.json(job.raw)
    if not job.is_final:
        raise Unfinished(f"No answer within {wait:g} s.", job_id=job.id)
    if job.answer is None:
        code, message = (
            (job.error.code, job.error.message) if job.error else (job.status, job.status)
        )
        raise Failed(message, job_id=job.id, code=code)
    if not as_json:
        _show(job.answer, screen)


def jobs(
    job_id: Annotated[str | None, Argument(help="Show only this job.", metavar="[ID]")] = None,
    status: Annotated[
        JobStatus | None, Option("--status", help="List only jobs with this status.")
    ] = None,
    catalog: Annotated[
        str | None, Option("--catalog", help="List only jobs of this catalog.")
    ] = None,
    limit: Annotated[
        int, Option("--limit", "-n", min=1, help="Maximum number of jobs to list.")
    ] = 50,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List your jobs, newest first, or show one job."""
    screen = Screen()
    with connected(url, screen) as client:
        if job_id:
            found = [client.job(job_id)]
        else:
            found = list(islice(client.jobs(status=status, catalog=catalog), limit))
    if as_json:
        screen.json(found[0].raw if job_id else [job.raw for job in found])
        return
    screen.table(
        ("id", "status", "model", "release", "created", "code", "category"), map(_row, found)
    )


def cancel(
    object_id: Annotated[str, Argument(help="ID of a catalog or a job.", metavar="ID")],
    url: Url = None,
) -> None:
    """Cancel a catalog or a job. Existing answers are kept."""
    screen = Screen()
    with connected(url, screen) as client:
        status = _cancel(client, object_id)
    screen.answer(f"{object_id} is {status}.")
    if status not in ("cancelled", "finished", "done"):
        raise Exit(INCOMPLETE)


def _cancel(client: Rayon, object_id: str) -> str:
    try:
        return client.find_catalog(object_id).cancel().status
    except Refused as error:
        if error.status != 404:
            raise
    return client.cancel(object_id).status


def _show(answer: Answer, screen: Screen) -> None:
    if screen.is_terminal:
        screen.answer(
            f"{answer.category} ({answer.prdtypecode}), {percent(answer.confidence)} sure"
        )
        runners_up = answer.top[1 : 1 + RUNNERS_UP]
        for other in runners_up:
            screen.answer(
                f"  or {other.category} ({other.prdtypecode}), {percent(other.probability)}"
            )
    else:
        screen.table((), [(answer.prdtypecode, answer.category, answer.confidence)])
    if answer.is_foreign:
        screen.say("Note: the product may belong to none of the categories.")
    if reason := answer.degraded_message or answer.degraded:
        screen.say(f"Note: the answer does not use every input: {reason}")


def _row(job: Job) -> tuple[object, ...]:
    if job.answer:
        code, category = str(job.answer.prdtypecode), job.answer.category
    else:
        code, category = "", job.error.code if job.error else ""
    return (job.id, job.status, job.model, job.release, job.created_at, code, category)
