"""Queues, processes and dead letters, for operators."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.datastructures import FormData

from gateway.api import queues
from gateway.console.form import Mistakes, fields, validated
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.operations.schemas import GroupSelection, QueueList
from shared.errors import Conflict, NotFound, RayonError, Unavailable

LETTERS = "/dead-letters"
#: Dead letters of the list of the newest.
SHOWN = 50

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("/queues")
def show(visit: SignedVisit) -> Response:
    """Show the queues with their workers, and the progress of all processes."""
    found: QueueList | None
    try:
        found, failure = queues.list_queues(visit.services, visit.user), ""
    except Unavailable as error:
        found, failure = None, error.detail
    return visit.page("queues.html", found=found, failure=failure, live=visit.url("/queues"))


@router.get(LETTERS)
def show_groups(visit: SignedVisit, handled: int | None = None, refused: int = 0) -> Response:
    """Show the dead letters, grouped by topic and error."""
    return _groups(visit, handled=handled, refused=refused)


@router.post(f"{LETTERS}/group")
def handle_group(
    visit: SignedVisit,
    form: Annotated[FormData, Depends(fields("topic", "error", "newest_id", "reason", "act"))],
) -> Response:
    """Replay or discard the dead letters of a group."""
    names = ("topic", "error", "newest_id", "reason")
    try:
        wanted = validated(GroupSelection, {name: str(form.get(name, "")) for name in names})
        handle = queues.discard_group if form.get("act") == "discard" else queues.replay_group
        done = handle(visit.services, visit.user, visit.origin, wanted)
    except RayonError as error:
        chosen = str(form.get("newest_id", ""))
        return _groups(visit, error.status, mistakes=Mistakes.of(error), chosen=chosen)
    return visit.go(LETTERS, handled=done.handled, refused=done.refused)


@router.post(f"{LETTERS}/selected")
def handle_selected(
    visit: SignedVisit,
    form: Annotated[
        FormData, Depends(fields("reason", "act", repeatable=("letter",), max_fields=SHOWN + 2))
    ],
) -> Response:
    """Replay or discard the selected dead letters, one by one; a wrong one stops no other."""
    selected = [str(letter_id) for letter_id in form.getlist("letter")]
    if not selected:
        return _groups(
            visit, 422, mistakes=Mistakes(whole="Expected at least 1 entries. Received: 0")
        )
    handle = queues.discard if form.get("act") == "discard" else queues.replay
    handled = refused = 0
    for letter_id in selected:
        try:
            handle(visit.services, visit.user, visit.origin, letter_id, str(form.get("reason", "")))
            handled += 1
        except NotFound:
            # Somebody else has handled it in the meantime.
            continue
        except Conflict:
            refused += 1
    return visit.go(LETTERS, handled=handled, refused=refused)


@router.get(f"{LETTERS}/{{letter_id}}")
def show_letter(visit: SignedVisit, letter_id: str) -> Response:
    """Show one dead letter with its jobs and its message."""
    letter = queues.show_dead_letter(visit.services, visit.user, letter_id)
    return visit.page("dead_letter.html", letter=letter)


@router.post(f"{LETTERS}/{{letter_id}}")
def handle_letter(
    visit: SignedVisit, letter_id: str, form: Annotated[FormData, Depends(fields("act"))]
) -> Response:
    """Replay or discard one dead letter."""
    handle = queues.discard if form.get("act") == "discard" else queues.replay
    handle(visit.services, visit.user, visit.origin, letter_id)
    return visit.go(LETTERS, handled=1)


def _groups(visit: Visit, status_code: int = 200, **changes: Any) -> Response:
    context: dict[str, Any] = {
        "groups": queues.list_groups(visit.services, visit.user).items,
        "newest": queues.list_dead_letters(visit.services, visit.user, limit=SHOWN).items,
        "mistakes": Mistakes(),
        "chosen": "",
        "handled": None,
        "refused": 0,
    }
    return visit.page("dead_letters.html", status_code, **{**context, **changes})
