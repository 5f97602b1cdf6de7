"""Accounts, for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway import accounts
from gateway.schemas import UserCreate, UserOut, UserPage, UserPatch
from gateway.services import Admin, ServicesDep
from shared.db.models import User

router = APIRouter(prefix="/v1/users", tags=["accounts"])


@router.get("")
def list_users(
    services: ServicesDep,
    _admin: Admin,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UserPage:
    """Accounts by name; `cursor` is the `next_cursor` of the page before."""
    with services.unit_of_work.reading() as session:
        found = accounts.page(session, cursor, limit)
        more = len(found) > limit
        return UserPage(
            items=[_out(user) for user in found[:limit]],
            next_cursor=found[limit - 1].username if more else None,
        )


@router.post("", status_code=201)
def create_user(
    services: ServicesDep, _admin: Admin, wanted: UserCreate, response: Response
) -> UserOut:
    """Add an account."""
    with services.unit_of_work() as work:
        user = accounts.create(work.session, wanted)
    response.headers["Location"] = f"/v1/users/{user.username}"
    return _out(user)


@router.get("/{username}")
def show_user(services: ServicesDep, _admin: Admin, username: str) -> UserOut:
    """One account."""
    with services.unit_of_work.reading() as session:
        return _out(accounts.find(session, username))


@router.patch("/{username}")
def change_user(services: ServicesDep, _admin: Admin, username: str, patch: UserPatch) -> UserOut:
    """Change role, password or whether the account may sign in."""
    with services.unit_of_work() as work:
        user = accounts.change(work.session, username, patch)
    return _out(user)


@router.delete("/{username}", status_code=204)
def delete_user(services: ServicesDep, _admin: Admin, username: str) -> Response:
    """Delete an account with its jobs."""
    with services.unit_of_work() as work:
        accounts.remove(work.session, username)
    return Response(status_code=204)


def _out(user: User) -> UserOut:
    return UserOut.model_validate(user, from_attributes=True)
