"""Accounts and their passwords."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body
from shared.db.models import Role

Username = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]


class PasswordChange(Body):
    """A new password, with the current one as proof."""

    current_password: str
    new_password: Password


class UserOut(BaseModel):
    """An account."""

    username: str
    role: Role
    is_active: bool
    created_at: datetime


class UserPage(BaseModel):
    """Accounts in the order of their names."""

    items: list[UserOut]
    next_cursor: str | None


class UserCreate(Body):
    """A new account; without a password a one-time code lets its user choose one."""

    username: Username
    password: Password | None = None
    role: Role = Role.CLIENT


class OneTimeCodeOut(BaseModel):
    """Lets whoever has it choose the password, once: `POST /v1/password`."""

    code: str = Field(description="Shown once.")
    expires_at: datetime


class UserCreated(UserOut):
    """A new account, and what its user needs to choose a password."""

    one_time_code: OneTimeCodeOut | None = None


class PasswordChoice(Body):
    """A password, chosen with a one-time code."""

    code: str = Field(min_length=1, max_length=128)
    new_password: Password


class UserPatch(Body):
    """What an admin may change of an account; what is absent stays."""

    role: Role | None = None
    is_active: bool | None = None
