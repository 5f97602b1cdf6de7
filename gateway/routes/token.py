"""Sign in, stay signed in, sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import OAuth2PasswordRequestForm

from gateway import accounts
from gateway.schemas import PasswordChange, RefreshRequest, TokenPair, UserOut
from gateway.services import ServicesDep, SignedIn

router = APIRouter(prefix="/v1", tags=["sign in"])


@router.post("/token")
def sign_in(
    services: ServicesDep, form: Annotated[OAuth2PasswordRequestForm, Depends()]
) -> TokenPair:
    """Trade a username and a password for tokens (OAuth 2.0 password form)."""
    return services.sessions.sign_in(form.username, form.password)


@router.post("/token/refresh")
def refresh(services: ServicesDep, request: RefreshRequest) -> TokenPair:
    """Trade a refresh token for new tokens; it is valid once."""
    return services.sessions.refresh(request.refresh_token)


@router.delete("/token", status_code=204)
def sign_out(services: ServicesDep, principal: SignedIn) -> Response:
    """End this session at once."""
    services.sessions.sign_out(principal)
    return Response(status_code=204)


@router.get("/me")
def me(services: ServicesDep, principal: SignedIn) -> UserOut:
    """Who am I?"""
    with services.unit_of_work.reading() as session:
        user = accounts.find(session, principal.username)
        return UserOut.model_validate(user, from_attributes=True)


@router.put("/me/password", status_code=204)
def change_password(services: ServicesDep, principal: SignedIn, change: PasswordChange) -> Response:
    """Change one's password; every session ends."""
    with services.unit_of_work() as work:
        accounts.change_password(
            work.session, principal, change.current_password, change.new_password
        )
    return Response(status_code=204)
