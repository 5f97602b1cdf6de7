"""Sign-in, sessions and passwords."""

from typing import Annotated

from fastapi import APIRouter, Cookie, Depends, Form, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from gateway.api.parameters import SessionId
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import accounts, audit_log, one_time_codes
from gateway.identity.forwarded import warn_if_ignored
from gateway.identity.schemas.accounts import MePatch, PasswordChange, PasswordChoice, UserOut
from gateway.identity.schemas.sessions import RefreshRequest, SessionList, TokenPair
from gateway.identity.sessions import sessions_of

#: Cookie of a device on which a user has signed in before.
DEVICE = "rayon_device"
DeviceCookie = Annotated[
    str | None,
    Cookie(
        alias=DEVICE,
        description="Set by a successful sign-in. A device that sends it is exempt from the limits "
        "on failed sign-ins of its address.",
    ),
]

router = APIRouter(prefix="/v1", tags=["sign in"])


class PasswordGrant(OAuth2PasswordRequestForm):
    """The form of the OAuth 2.0 password grant (RFC 6749, section 4.3), with descriptions."""

    def __init__(
        self,
        *,
        grant_type: Annotated[
            str | None,
            Form(pattern="^password$", description="`password`, if it is sent at all."),
        ] = None,
        username: Annotated[str, Form(description="Name of the account.")],
        password: Annotated[
            str,
            Form(description="Password of the account.", json_schema_extra={"format": "password"}),
        ],
        scope: Annotated[
            str, Form(description="Ignored: a token has the permissions of the account's role.")
        ] = "",
        client_id: Annotated[
            str | None, Form(description="Ignored: programs use API keys.")
        ] = None,
        client_secret: Annotated[
            str | None,
            Form(
                description="Ignored: programs use API keys.",
                json_schema_extra={"format": "password"},
            ),
        ] = None,
    ) -> None:
        super().__init__(
            grant_type=grant_type,
            username=username,
            password=password,
            scope=scope,
            client_id=client_id,
            client_secret=client_secret,
        )


@router.post("/token")
def sign_in(
    services: ServicesDep,
    origin: OriginDep,
    form: Annotated[PasswordGrant, Depends()],
    request: Request,
    response: Response,
    device: DeviceCookie = None,
) -> TokenPair:
    """Exchange username and password for an access and a refresh token.

    The form is that of the OAuth 2.0 password grant. By default access tokens expire after 15
    minutes and refresh tokens after 14 days.
    """
    warn_if_ignored(request)
    tokens = services.sessions.sign_in(form.username, form.password, origin, device)
    remember_device(response, request, services, form.username, router.prefix)
    return tokens


def remember_device(
    response: Response, request: Request, services: Services, username: str, path: str
) -> None:
    """Set the cookie of a device on which a user has signed in, for paths below `path`."""
    devices = services.sessions.devices
    response.set_cookie(
        DEVICE,
        devices.cookie(username),
        max_age=devices.seconds,
        path=path,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


@router.post("/token/refresh")
def refresh(services: ServicesDep, origin: OriginDep, request: RefreshRequest) -> TokenPair:
    """Exchange a refresh token for new tokens.

    A refresh token is valid once. Within 10 seconds by default, a repeated request gets the same
    new one; later, reuse ends the session, because the token may be stolen.
    """
    return services.sessions.refresh(request.refresh_token, origin)


@router.delete("/token", status_code=204)
def sign_out(services: ServicesDep, principal: SignedIn, origin: OriginDep) -> Response:
    """Sign out: end this session and its tokens at once."""
    services.sessions.sign_out(principal, origin)
    return Response(status_code=204)


@router.get("/me")
def me(services: ServicesDep, principal: SignedIn) -> UserOut:
    """Return the account of the caller."""
    with services.unit_of_work.reading() as session:
        user = accounts.find(session, principal.username)
        return UserOut.model_validate(user, from_attributes=True)


@router.patch("/me")
def change_me(services: ServicesDep, principal: SignedIn, patch: MePatch) -> UserOut:
    """Change your account: the language of the console."""
    with services.unit_of_work() as work:
        user = accounts.find(work.session, principal.username)
        if "language" in patch.model_fields_set:
            user.language = patch.language
        work.session.flush()
        return UserOut.model_validate(user, from_attributes=True)


@router.put("/me/password", status_code=204)
def change_password(
    services: ServicesDep,
    principal: SignedIn,
    origin: OriginDep,
    change: PasswordChange,
    device: DeviceCookie = None,
) -> Response:
    """Change your password and end all your sessions, this one included.

    API keys stay valid unless `end_api_keys` is true.
    """
    services.sessions.change_password(
        principal,
        change.current_password,
        change.new_password,
        origin,
        device=device,
        end_api_keys=change.end_api_keys,
    )
    return Response(status_code=204)


@router.post("/password", status_code=204)
def choose_password(services: ServicesDep, origin: OriginDep, choice: PasswordChoice) -> Response:
    """Choose a password with a one-time code and end all sessions of the account.

    API keys stay valid unless `end_api_keys` is true.
    """
    with services.unit_of_work.reading() as session:
        user = one_time_codes.find(session, choice.code)
    # Hashed outside the transaction: hashing is slow on purpose and would block writers.
    hashed = accounts.hash_password(choice.new_password, user.username)
    with services.unit_of_work() as work:
        user = one_time_codes.redeem(work.session, choice.code)
        accounts.choose_password(work.session, user, hashed)
        if choice.end_api_keys:
            accounts.end_api_keys(work.session, user)
        audit_log.record(
            work.session,
            origin,
            "password.choose",
            actor=user.username,
            end_api_keys=choice.end_api_keys,
        )
    return Response(status_code=204)


@router.get("/sessions")
def list_sessions(services: ServicesDep, principal: SignedIn) -> SessionList:
    """List your sessions, newest first."""
    with services.unit_of_work.reading() as session:
        return SessionList.of(sessions_of(session, principal.id), principal.session_id)


@router.delete("/sessions", status_code=204)
def end_other_sessions(services: ServicesDep, principal: SignedIn, origin: OriginDep) -> Response:
    """End all your sessions except this one."""
    services.sessions.end_others(principal, origin)
    return Response(status_code=204)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(
    services: ServicesDep, principal: SignedIn, origin: OriginDep, session_id: SessionId
) -> Response:
    """End one of your sessions at once."""
    services.sessions.end(principal, session_id, origin)
    return Response(status_code=204)
