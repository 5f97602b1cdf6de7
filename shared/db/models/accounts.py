"""Accounts, and what signs them in."""

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
    """An account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), default=Role.CLIENT.value)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: SHA-256 of issuer and subject: whom an OpenID provider signs in to this account.
    identity_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: Of an account whose jobs were kept when it was deleted; it has no name and never returns.
    deleted_at: Mapped[datetime | None]


class LoginSession(Base):
    """A signed-in session: one family of rotating refresh tokens."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: SHA-256 of the one refresh token that is valid now.
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    #: Of the one before, which is valid for a moment longer: the answer may have been lost.
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    refreshed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: From where it was started, and with what.
    address: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(255))


class ApiKey(Base):
    """A key for programs: of one user, for some of what the user may do."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    #: The first characters, by which a person tells it from others.
    prefix: Mapped[str] = mapped_column(String(16))
    #: SHA-256 of the whole key.
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class OneTimeCode(Base):
    """Lets somebody choose a password, once: of a new account, or instead of a forgotten one."""

    __tablename__ = "one_time_codes"

    #: A user has one at most; a new one replaces it.
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    #: SHA-256 of the code.
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
