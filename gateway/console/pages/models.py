"""Releases and training runs: follow, cancel, promote and roll back."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.datastructures import FormData

from gateway.api import releases, training
from gateway.console.form import Mistakes, fields, validated
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.releases.schemas.releases import PromoteRequest
from shared.errors import RayonError, Unavailable

PATH = "/models"
#: Releases, promotions and training runs of the page.
SHOWN = 20

router = APIRouter(prefix=f"{CONSOLE}{PATH}", include_in_schema=False)


@router.get("")
def show(visit: SignedVisit, done: str = "") -> Response:
    """Show the releases with the ledger of promotions, and the training runs."""
    return _page(visit, done=done)


@router.post("/promote")
def promote(
    visit: SignedVisit, form: Annotated[FormData, Depends(fields("version", "reason", "act"))]
) -> Response:
    """Promote a release, or the champion before, with a reason."""
    services, user, origin = visit.services, visit.user, visit.origin
    version = str(form.get("version", ""))
    try:
        why = validated(PromoteRequest, {"reason": str(form.get("reason", ""))})
        if form.get("act") == "roll-back":
            releases.roll_back(services, user, origin, why)
        else:
            releases.promote_release(services, user, origin, version, why)
    except RayonError as error:
        return _page(visit, error.status, mistakes=Mistakes.of(error), chosen=version)
    return visit.go(PATH, done="promote")


@router.get("/runs/{run_id}")
def show_run(visit: SignedVisit, run_id: str) -> Response:
    """Show a training run with its step, its progress and the end of its log."""
    run = training.show_run(visit.services, visit.user, run_id)
    return visit.page("training_run.html", run=run, live=visit.url(f"{PATH}/runs/{run_id}"))


@router.post("/runs/{run_id}/cancel")
def cancel_run(visit: SignedVisit, run_id: str) -> Response:
    """Cancel a training run."""
    training.cancel_run(visit.services, visit.user, visit.origin, run_id)
    return visit.go(f"{PATH}/runs/{run_id}")


def _page(visit: Visit, status_code: int = 200, **changes: Any) -> Response:
    services, user = visit.services, visit.user
    context: dict[str, Any] = {
        "releases": [],
        "ledger": [],
        "failure": "",
        "runs": training.list_runs(services, user, limit=SHOWN).items,
        "mistakes": Mistakes(),
        "chosen": "",
        "done": "",
    }
    try:
        found = releases.list_releases(services, user, limit=SHOWN)
        context |= {"releases": found.items, "ledger": found.ledger}
    except Unavailable as error:
        context["failure"] = error.detail
    return visit.page("models.html", status_code, **{**context, **changes})
