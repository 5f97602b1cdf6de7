"""Accounts and their credentials."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class Role(StrEnum):
    """Role of an account."""

    ADMIN = "admin"
    OPERATOR = "operator"
    CLIENT = "client"


class User(Base):
    """User account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), default=Role.CLIENT.value)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: An admin's decision if the account's labels may train. Without one, the role decides; see
    #: `shared.lifecycle.label_trust`.
    labels_trusted: Mapped[bool | None]
    #: Language of the console, such as `fr`; without one, the browser decides.
    language: Mapped[str | None] = mapped_column(String(8))
    #: SHA-256 of issuer and subject of the OpenID identity that signs in to this account.
    identity_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: Set if the account was deleted but its jobs were kept; such an account has no name and cannot
    #: be restored.
    deleted_at: Mapped[datetime | None]


class LoginSession(Base):
    """A signed-in session: one family of rotating refresh tokens."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: SHA-256 of the current refresh token.
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    #: SHA-256 of the previous token, which stays valid briefly in case the response was lost.
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    refreshed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: IP address and user agent that started the session.
    address: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(255))


class ApiKey(Base):
    """API key of a user, limited to some of the user's permissions."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    #: First characters of the key, which identify it to people.
    prefix: Mapped[str] = mapped_column(String(16))
    #: SHA-256 of the whole key.
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class OneTimeCode(Base):
    """Single-use code to set the password of a new account or to reset a forgotten one."""

    __tablename__ = "one_time_codes"

    #: A user has at most one code; a new code replaces it.
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    #: SHA-256 of the code.
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
