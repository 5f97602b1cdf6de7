"""Accounts, for admins."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from gateway.api.parameters import Cursor, KeyId, Limit, SessionId, Username, located
from gateway.api.services import OriginDep, Services, ServicesDep, SignedIn
from gateway.identity import accounts, api_keys, audit_log, one_time_codes, sessions
from gateway.identity.schemas.accounts import (
    OneTimeCodeOut,
    PasswordReset,
    UserCreate,
    UserCreated,
    UserDetails,
    UserOut,
    UserPage,
    UserPatch,
)
from gateway.identity.schemas.api_keys import ApiKeyList
from gateway.identity.schemas.sessions import SessionList
from shared.db.models import User
from shared.db.session import Work

router = APIRouter(prefix="/v1/users", tags=["accounts"])


@router.get("")
def list_users(
    services: ServicesDep,
    _admin: SignedIn,
    search: Annotated[
        str | None, Query(max_length=64, description="Part of the username; all by default.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> UserPage:
    """List accounts, sorted by username."""
    with services.unit_of_work.reading() as session:
        found, following = accounts.page(session, cursor, limit, search)
        return UserPage(items=[_out(user) for user in found], next_cursor=following)


@router.post("", status_code=201, responses=located(201))
def create_user(
    services: ServicesDep,
    admin: SignedIn,
    origin: OriginDep,
    wanted: UserCreate,
    response: Response,
) -> UserCreated:
    """Create an account.

    Without a password, the response holds a one-time code with which the user chooses one.
    """
    with services.unit_of_work() as work:
        user = accounts.create(work.session, wanted.username, wanted.role, wanted.password)
        code = None if wanted.password else _code(services, work, user)
        audit_log.record(
            work.session,
            origin,
            "user.create",
            actor=admin.username,
            target=user.username,
            role=wanted.role.value,
        )
    response.headers["Location"] = f"/v1/users/{user.username}"
    return UserCreated(**_out(user).model_dump(), one_time_code=code)


@router.get("/{username}")
def show_user(services: ServicesDep, _admin: SignedIn, username: Username) -> UserDetails:
    """Return an account and the number of its jobs and catalogs."""
    with services.unit_of_work.reading() as session:
        user = accounts.find(session, username)
        return UserDetails.model_validate(
            {**_out(user).model_dump(), **accounts.belongings(session, user)}
        )


@router.patch("/{username}")
def change_user(
    services: ServicesDep, admin: SignedIn, origin: OriginDep, username: Username, patch: UserPatch
) -> UserOut:
    """Change the role of an account, disable or enable it, or decide if its labels may train.

    Disabling ends all its sessions and deletes its API keys at once.
    """
    with services.unit_of_work() as work:
        user = accounts.change(work.session, username, patch)
        audit_log.record(
            work.session,
            origin,
            "user.change",
            actor=admin.username,
            target=username,
            **patch.model_dump(mode="json", exclude_none=True),
        )
    return _out(user)


@router.post("/{username}/reset")
def reset_password(
    services: ServicesDep,
    admin: SignedIn,
    origin: OriginDep,
    username: Username,
    reset: PasswordReset | None = None,
) -> OneTimeCodeOut:
    """Issue a one-time code for a new password.

    The old password stays valid until the code is redeemed. By default the code expires after 3
    days. API keys stay valid unless `end_api_keys` is true.
    """
    end_api_keys = reset is not None and reset.end_api_keys
    with services.unit_of_work() as work:
        user = accounts.find(work.session, username)
        code = _code(services, work, user)
        if end_api_keys:
            accounts.end_api_keys(work.session, user)
        audit_log.record(
            work.session,
            origin,
            "user.reset",
            actor=admin.username,
            target=username,
            end_api_keys=end_api_keys,
        )
    return code


@router.get("/{username}/sessions")
def list_sessions(services: ServicesDep, admin: SignedIn, username: Username) -> SessionList:
    """List the sessions of a user, newest first."""
    with services.unit_of_work.reading() as session:
        user = accounts.find(session, username)
        return SessionList.of(sessions.sessions_of(session, user.id), admin.session_id)


@router.delete("/{username}/sessions/{session_id}", status_code=204)
def end_session(
    services: ServicesDep,
    admin: SignedIn,
    origin: OriginDep,
    username: Username,
    session_id: SessionId,
) -> Response:
    """End one session of a user at once."""
    with services.unit_of_work() as work:
        user = accounts.find(work.session, username)
        sessions.end_session(work.session, user.id, session_id)
        audit_log.record(
            work.session,
            origin,
            "user.end_session",
            actor=admin.username,
            target=username,
            ended=session_id,
        )
    return Response(status_code=204)


@router.delete("/{username}/sessions", status_code=204)
def end_sessions(
    services: ServicesDep, admin: SignedIn, origin: OriginDep, username: Username
) -> Response:
    """End all sessions of a user at once. API keys stay valid."""
    with services.unit_of_work() as work:
        accounts.end_sessions(work.session, accounts.find(work.session, username))
        audit_log.record(
            work.session, origin, "user.sign_out", actor=admin.username, target=username
        )
    return Response(status_code=204)


@router.get("/{username}/api-keys")
def list_api_keys(services: ServicesDep, _admin: SignedIn, username: Username) -> ApiKeyList:
    """List the API keys of a user, newest first."""
    with services.unit_of_work.reading() as session:
        return ApiKeyList.of(api_keys.keys_of(session, accounts.find(session, username).id))


@router.delete("/{username}/api-keys/{key_id}", status_code=204)
def revoke_api_key(
    services: ServicesDep, admin: SignedIn, origin: OriginDep, username: Username, key_id: KeyId
) -> Response:
    """Revoke one API key of a user. Requests with it are refused at once."""
    with services.unit_of_work() as work:
        user = accounts.find(work.session, username)
        row = api_keys.revoke(work.session, user.id, key_id)
        audit_log.record(
            work.session,
            origin,
            "user.revoke_key",
            actor=admin.username,
            target=username,
            key=row.prefix,
        )
    return Response(status_code=204)


@router.delete("/{username}/api-keys", status_code=204)
def revoke_api_keys(
    services: ServicesDep, admin: SignedIn, origin: OriginDep, username: Username
) -> Response:
    """Revoke all API keys of a user. Requests with them are refused at once."""
    with services.unit_of_work() as work:
        accounts.end_api_keys(work.session, accounts.find(work.session, username))
        audit_log.record(
            work.session, origin, "user.revoke_keys", actor=admin.username, target=username
        )
    return Response(status_code=204)


@router.delete("/{username}", status_code=204)
def delete_user(
    services: ServicesDep,
    admin: SignedIn,
    origin: OriginDep,
    username: Username,
    jobs: Annotated[
        Literal["delete", "keep"],
        Query(description="`delete` removes jobs and catalogs, `keep` makes them anonymous."),
    ] = "delete",
) -> Response:
    """Delete an account. Refused with 409 for the last active admin."""
    with services.unit_of_work() as work:
        accounts.remove(work.session, username, keep_jobs=jobs == "keep")
        audit_log.record(
            work.session, origin, "user.delete", actor=admin.username, target=username, jobs=jobs
        )
    return Response(status_code=204)


def _code(services: Services, work: Work, user: User) -> OneTimeCodeOut:
    lifetime = timedelta(seconds=services.settings.one_time_code_seconds)
    code, ends = one_time_codes.issue(work.session, user, lifetime)
    return OneTimeCodeOut(code=code, expires_at=ends)


def _out(user: User) -> UserOut:
    return UserOut.model_validate(user, from_attributes=True)
