"""Sign in, sign out, and choose a password with a one-time code."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from starlette.datastructures import FormData

from gateway.api import token
from gateway.console.form import Mistakes, fields, validated
from gateway.console.visit import PublicVisit, SignedVisit, Visit
from gateway.identity.browser_cookie import CONSOLE, delete_cookie, local_path, set_cookie
from gateway.identity.schemas.accounts import PasswordChoice
from shared.errors import Limited, RayonError, Unauthenticated

router = APIRouter(prefix=CONSOLE, include_in_schema=False)


@router.get("/sign-in")
def ask(
    visit: PublicVisit,
    continue_at: Annotated[str | None, Query(alias="next")] = None,
    chosen: str | None = None,
) -> Response:
    """Show the form, or go on if the browser is signed in."""
    following = local_path(continue_at, visit.url())
    if visit.principal is not None:
        return visit.go(following.removeprefix(visit.url()))
    return _form(visit, following, password_chosen=chosen is not None)


@router.post("/sign-in")
def sign_in(
    visit: PublicVisit,
    form: Annotated[FormData, Depends(fields("username", "password", "next"))],
) -> Response:
    """Verify the password and start a session."""
    username, password = str(form.get("username", "")), str(form.get("password", ""))
    following = local_path(str(form.get("next", "")), visit.url())
    device = visit.request.cookies.get(token.DEVICE)
    try:
        user = visit.services.sessions.verify(username, password, visit.origin, device)
    except (Unauthenticated, Limited) as error:
        return _form(visit, following, username=username, error=error)
    with visit.services.unit_of_work() as work:
        cookie = visit.services.sessions.browsers.start(work.session, user, visit.origin)
    response = visit.go(following.removeprefix(visit.url()))
    set_cookie(response, visit.request, cookie)
    token.remember_device(response, visit.request, visit.services, username, visit.url())
    return response


@router.post("/sign-out")
def sign_out(visit: SignedVisit) -> Response:
    """End the session."""
    visit.services.sessions.sign_out(visit.user, visit.origin)
    response = visit.go("/sign-in")
    delete_cookie(response, visit.request)
    return response


@router.get("/password")
def ask_for_password(visit: PublicVisit) -> Response:
    """Show the form to choose a password with a one-time code."""
    return visit.page("password.html", code="", mistakes=Mistakes())


@router.post("/password")
def choose_password(
    visit: PublicVisit,
    form: Annotated[FormData, Depends(fields("code", "new_password", "end_api_keys"))],
) -> Response:
    """Set the password of the account of a one-time code."""
    code = str(form.get("code", "")).strip()
    try:
        choice = validated(
            PasswordChoice,
            {
                "code": code,
                "new_password": str(form.get("new_password", "")),
                "end_api_keys": "end_api_keys" in form,
            },
        )
        token.choose_password(visit.services, visit.origin, choice)
    except RayonError as error:
        mistakes = Mistakes.of(error)
        return visit.page("password.html", error.status, code=code, mistakes=mistakes)
    return visit.go("/sign-in", chosen="1")


def _form(
    visit: Visit,
    following: str,
    *,
    username: str = "",
    error: RayonError | None = None,
    password_chosen: bool = False,
) -> Response:
    page = visit.page(
        "sign_in.html",
        error.status if error else 200,
        following=following,
        username=username,
        failure=error.code if error else "",
        retry_after=getattr(error, "retry_after_seconds", None),
        password_chosen=password_chosen,
        has_single_sign_on=visit.services.single_sign_on is not None,
    )
    if isinstance(error, Limited):
        page.headers["Retry-After"] = str(error.retry_after_seconds)
    return page
