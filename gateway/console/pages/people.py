"""Accounts, for admins: create, change, reset, sign out and delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from starlette.datastructures import FormData

from gateway.api import users
from gateway.console.form import Mistaken, Mistakes, fields, validated
from gateway.console.menu import N_
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.schemas.accounts import PasswordReset, UserCreate, UserPatch
from shared.db.models import Role
from shared.errors import RayonError

PATH = "/people"
#: Choices of the form for `labels_trusted`.
TRUST = {"yes": True, "no": False}

router = APIRouter(prefix=f"{CONSOLE}{PATH}", include_in_schema=False)


@router.get("")
def show_all(
    visit: SignedVisit,
    search: Annotated[str, Query(max_length=64)] = "",
    cursor: str | None = None,
    done: str = "",
) -> Response:
    """List the accounts, or those whose name contains a text."""
    return _list(visit, search=search, cursor=cursor, done=done)


@router.post("")
def create(
    visit: SignedVisit, form: Annotated[FormData, Depends(fields("username", "role"))]
) -> Response:
    """Create an account and show its one-time code, once."""
    sent = {name: str(form.get(name, "")) for name in ("username", "role")}
    try:
        wanted = validated(UserCreate, sent)
        created = users.create_user(visit.services, visit.user, visit.origin, wanted, Response())
    except RayonError as error:
        return _list(visit, error.status, mistakes=Mistakes.of(error), sent=sent)
    return visit.page(
        "one_time_code.html", 201, username=created.username, code=created.one_time_code
    )


@router.get("/{username}")
def show(visit: SignedVisit, username: str, done: str = "") -> Response:
    """Show an account with its sessions and API keys."""
    return _person(visit, username, done=done)


@router.post("/{username}/change")
def change(
    visit: SignedVisit,
    username: str,
    form: Annotated[FormData, Depends(fields("role", "is_active", "labels_trusted"))],
) -> Response:
    """Change the role of an account, disable or enable it, or trust its labels."""
    values: dict[str, Any] = {name: str(form.get(name)) for name in ("role",) if name in form}
    if "is_active" in form:
        values["is_active"] = form.get("is_active") == "yes"
    trust = str(form.get("labels_trusted", ""))
    if trust in TRUST:
        values["labels_trusted"] = TRUST[trust]
    try:
        patch = validated(UserPatch, values)
        users.change_user(visit.services, visit.user, visit.origin, username, patch)
    except RayonError as error:
        return _person(visit, username, error.status, mistakes=Mistakes.of(error))
    return visit.go(f"{PATH}/{username}", done="change")


@router.post("/{username}/reset")
def reset(
    visit: SignedVisit, username: str, form: Annotated[FormData, Depends(fields("end_api_keys"))]
) -> Response:
    """Issue a one-time code and show it, once."""
    wanted = PasswordReset(end_api_keys="end_api_keys" in form)
    code = users.reset_password(visit.services, visit.user, visit.origin, username, wanted)
    return visit.page("one_time_code.html", 201, username=username, code=code)


@router.post("/{username}/sessions/end")
def end_sessions(visit: SignedVisit, username: str) -> Response:
    """End all sessions of an account."""
    users.end_sessions(visit.services, visit.user, visit.origin, username)
    return visit.go(f"{PATH}/{username}", done="sessions")


@router.post("/{username}/sessions/{session_id}/end")
def end_session(visit: SignedVisit, username: str, session_id: str) -> Response:
    """End one session of an account."""
    users.end_session(visit.services, visit.user, visit.origin, username, session_id)
    return visit.go(f"{PATH}/{username}", done="session")


@router.post("/{username}/api-keys/revoke")
def revoke_keys(visit: SignedVisit, username: str) -> Response:
    """Revoke all API keys of an account."""
    users.revoke_api_keys(visit.services, visit.user, visit.origin, username)
    return visit.go(f"{PATH}/{username}", done="keys")


@router.post("/{username}/api-keys/{key_id}/revoke")
def revoke_key(visit: SignedVisit, username: str, key_id: str) -> Response:
    """Revoke one API key of an account."""
    users.revoke_api_key(visit.services, visit.user, visit.origin, username, key_id)
    return visit.go(f"{PATH}/{username}", done="key")


@router.post("/{username}/delete")
def delete(
    visit: SignedVisit,
    username: str,
    form: Annotated[FormData, Depends(fields("typed", "jobs"))],
) -> Response:
    """Delete an account whose name was typed."""
    jobs = "keep" if form.get("jobs") == "keep" else "delete"
    try:
        if str(form.get("typed", "")).strip() != username:
            raise Mistaken(
                Mistakes(fields={"typed": N_("Type the username to delete the account.")})
            )
        users.delete_user(visit.services, visit.user, visit.origin, username, jobs)  # type: ignore[arg-type]
    except RayonError as error:
        return _person(visit, username, error.status, mistakes=Mistakes.of(error))
    return visit.go(PATH, done="delete")


def _list(visit: Visit, status_code: int = 200, **changes: Any) -> Response:
    search, cursor = changes.get("search", ""), changes.pop("cursor", None)
    found = users.list_users(visit.services, visit.user, search or None, cursor)
    context: dict[str, Any] = {
        "people": found.items,
        "following": found.next_cursor,
        "roles": list(Role),
        "search": "",
        "sent": {"username": "", "role": Role.CLIENT.value},
        "mistakes": Mistakes(),
        "done": "",
    }
    return visit.page("people.html", status_code, **{**context, **changes})


def _person(visit: Visit, username: str, status_code: int = 200, **changes: Any) -> Response:
    services, admin = visit.services, visit.user
    context: dict[str, Any] = {
        "account": users.show_user(services, admin, username),
        "sessions": users.list_sessions(services, admin, username).items,
        "keys": users.list_api_keys(services, admin, username).items,
        "roles": list(Role),
        "mistakes": Mistakes(),
        "done": "",
    }
    return visit.page("person.html", status_code, **{**context, **changes})
