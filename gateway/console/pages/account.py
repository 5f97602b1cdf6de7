"""The visitor's own account: password, language, sessions and API keys."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.datastructures import FormData

from gateway.api import api_keys, token
from gateway.console.form import Mistakes, fields, validated
from gateway.console.visit import SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE, delete_cookie
from gateway.identity.permissions import scopes_of
from gateway.identity.schemas.accounts import MePatch, PasswordChange
from gateway.identity.schemas.api_keys import ApiKeyCreate
from shared.db.models import now
from shared.errors import RayonError

PATH = "/account"
#: Days after which a new API key expires; 0 for never.
KEY_DAYS = (30, 90, 365, 0)

router = APIRouter(prefix=f"{CONSOLE}{PATH}", include_in_schema=False)


@router.get("")
def show(visit: SignedVisit, done: str = "") -> Response:
    """Show the account; `done` names what a form has changed."""
    return _page(visit, done=done)


@router.post("/language")
def set_language(
    visit: SignedVisit, form: Annotated[FormData, Depends(fields("language"))]
) -> Response:
    """Set the language of the console."""
    patch = validated(MePatch, {"language": form.get("language") or None})
    token.change_me(visit.services, visit.user, patch)
    return visit.go(PATH, done="language")


@router.post("/password")
def change_password(
    visit: SignedVisit,
    form: Annotated[FormData, Depends(fields("current_password", "new_password", "end_api_keys"))],
) -> Response:
    """Change the password, which ends all sessions."""
    values = {name: str(form.get(name, "")) for name in ("current_password", "new_password")}
    try:
        change = validated(PasswordChange, {**values, "end_api_keys": "end_api_keys" in form})
        device = visit.request.cookies.get(token.DEVICE)
        token.change_password(visit.services, visit.user, visit.origin, change, device)
    except RayonError as error:
        return _page(visit, error.status, password_mistakes=_of_password(error))
    response = visit.go("/sign-in", chosen="1")
    delete_cookie(response, visit.request)
    return response


@router.post("/sessions/end-others")
def end_other_sessions(visit: SignedVisit) -> Response:
    """End all sessions except this one."""
    token.end_other_sessions(visit.services, visit.user, visit.origin)
    return visit.go(PATH, done="sessions")


@router.post("/sessions/{session_id}/end")
def end_session(visit: SignedVisit, session_id: str) -> Response:
    """End one session."""
    token.end_session(visit.services, visit.user, visit.origin, session_id)
    return visit.go(PATH, done="session")


@router.post("/api-keys")
def create_key(
    visit: SignedVisit,
    form: Annotated[FormData, Depends(fields("name", "days", repeatable=("scopes",)))],
) -> Response:
    """Create an API key and show it, once."""
    sent = {
        "name": str(form.get("name", "")),
        "scopes": [str(one) for one in form.getlist("scopes")],
    }
    days = str(form.get("days", "0"))
    try:
        wanted = validated(ApiKeyCreate, {**sent, "expires_at": _expiry(days)})
        created = api_keys.create_api_key(
            visit.services, visit.user, visit.origin, wanted, Response()
        )
    except RayonError as error:
        return _page(
            visit, error.status, key_mistakes=Mistakes.of(error), new_key={**sent, "days": days}
        )
    return visit.page("api_key.html", 201, created=created)


@router.post("/api-keys/{key_id}/revoke")
def revoke_key(visit: SignedVisit, key_id: str) -> Response:
    """Revoke an API key."""
    api_keys.revoke_api_key(visit.services, visit.user, visit.origin, key_id)
    return visit.go(PATH, done="key")


def _page(visit: Visit, status: int = 200, **changes: Any) -> Response:
    services, user = visit.services, visit.user
    context: dict[str, Any] = {
        "account": token.me(services, user),
        "sessions": token.list_sessions(services, user).items,
        "keys": api_keys.list_api_keys(services, user).items,
        "scopes": sorted(scopes_of(user.role)),
        "key_days": KEY_DAYS,
        "new_key": {"name": "", "scopes": [], "days": "90"},
        "password_mistakes": Mistakes(),
        "key_mistakes": Mistakes(),
        "done": "",
    }
    return visit.page("account.html", status, **{**context, **changes})


def _of_password(error: RayonError) -> Mistakes:
    """Return the mistakes of the form, whose field is not named as that of the account."""
    found = Mistakes.of(error)
    named = {"password": "new_password"}
    return Mistakes(found.whole, {named.get(key, key): text for key, text in found.fields.items()})


def _expiry(days: str) -> Any:
    if not days.isdecimal() or int(days) not in KEY_DAYS:
        return days
    return f"{(now() + timedelta(days=int(days))).isoformat()}" if int(days) else None
