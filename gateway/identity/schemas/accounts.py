"""Request and response bodies of accounts and passwords."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body, NextCursor
from shared.db.models import Role

Username = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
]
#: Keys may be known to whoever made the change of the password necessary.
EndApiKeys = Annotated[
    bool, Field(description="True to revoke all API keys of the account at once too.")
]
#: 8 to 128 characters. Common passwords are refused too, see `accounts.hash_password`.
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]

NewPassword = Annotated[
    Password,
    Field(description="The new password, 8 to 128 characters and not a common one."),
]
#: Languages of the console.
LanguageOf = Annotated[
    Literal["fr", "en"] | None,
    Field(description="Language of the console; `null` for that of the browser."),
]
RoleOf = Annotated[
    Role,
    Field(
        description="`client` sends products and reads its own answers, `operator` also runs the "
        "system, `admin` also manages accounts."
    ),
]


class PasswordChange(Body):
    """A new password, confirmed with the current one."""

    current_password: str = Field(description="The current password.")
    new_password: NewPassword
    end_api_keys: EndApiKeys = False


class UserOut(BaseModel):
    """A user account."""

    username: str = Field(description="Name of the account, with which its user signs in.")
    role: RoleOf
    is_active: bool = Field(description="False for a disabled account, which cannot sign in.")
    labels_trusted: bool | None = Field(
        default=None,
        description="Admin's decision if the account's labels may train; `null` without one: "
        "labels of operators and admins may, and those of clients may not.",
    )
    created_at: datetime = Field(description="Time at which the account was created, in UTC.")
    language: LanguageOf = None


class UserDetails(UserOut):
    """A user account, and what belongs to it and would be deleted with it."""

    jobs: int = Field(description="Single jobs and rows of catalogs of the account.")
    catalogs: int = Field(description="Catalogs of the account.")


class MePatch(Body):
    """Changes to the caller's own account. Absent fields stay unchanged."""

    language: LanguageOf = None


class UserPage(BaseModel):
    """A page of accounts, sorted by username."""

    items: list[UserOut] = Field(description="The accounts of the page.")
    next_cursor: NextCursor


class UserCreate(Body):
    """A new account. Without a password, a one-time code is issued for its user to choose one."""

    username: Username = Field(
        description="Name of the account: 1 to 64 letters of `A` to `Z`, digits and `.`, `_`, `@`, "
        "`-`, beginning with a letter or digit. Unique regardless of case."
    )
    password: Password | None = Field(
        default=None,
        description="First password, 8 to 128 characters and not a common one. Without it, a "
        "one-time code is issued.",
    )
    role: RoleOf = Role.CLIENT


class PasswordReset(Body):
    """Options of a password reset."""

    end_api_keys: EndApiKeys = False


class OneTimeCodeOut(BaseModel):
    """A code with which its holder can choose the password once, with `POST /v1/password`."""

    code: str = Field(description="The code. Shown only in this response.")
    expires_at: datetime = Field(
        description="Time of expiry, in UTC; by default 3 days after the issue."
    )


class UserCreated(UserOut):
    """A new account, with a one-time code if it was created without a password."""

    one_time_code: OneTimeCodeOut | None = Field(
        default=None,
        description="Code with which the user chooses a password; `null` if the request had a "
        "password.",
    )


class PasswordChoice(Body):
    """A new password, authorized by a one-time code."""

    code: str = Field(
        min_length=1, max_length=128, description="The one-time code that an admin has issued."
    )
    new_password: NewPassword
    end_api_keys: EndApiKeys = False


class UserPatch(Body):
    """Changes to an account. Absent fields stay unchanged."""

    role: Role | None = Field(default=None, description="New role of the account.")
    is_active: bool | None = Field(
        default=None, description="False ends all sessions and deletes all API keys at once."
    )
    labels_trusted: bool | None = Field(
        default=None,
        description="True to train on the account's labels, false to train on none of them, not "
        "even on earlier ones.",
    )
