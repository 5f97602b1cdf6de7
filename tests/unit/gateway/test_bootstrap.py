"""The first admin."""

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from gateway.bootstrap import AdminSettings, ensure_admin
from shared.db.models import User
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput
from tests.factories import make_user


def _settings(password: str | None, username: str = "admin") -> AdminSettings:
    return AdminSettings(username=username, password=SecretStr(password) if password else None)


def test_first_admin_is_created_once(unit_of_work: UnitOfWork) -> None:
    first = ensure_admin(unit_of_work, _settings("correct horse"))
    with unit_of_work.reading() as session:
        before = session.scalars(select(User)).one()
    again = ensure_admin(unit_of_work, _settings("another password"))
    with unit_of_work.reading() as session:
        after = session.scalars(select(User)).one()
    assert (before.role, before.is_active) == ("admin", True)
    assert after.password_hash == before.password_hash
    assert first != again
    assert "correct horse" not in first


@pytest.mark.parametrize("password", [None, "short", "x" * 129])
def test_bad_password_creates_nobody(unit_of_work: UnitOfWork, password: str | None) -> None:
    with pytest.raises(InvalidInput):
        ensure_admin(unit_of_work, _settings(password))
    with unit_of_work.reading() as session:
        assert session.scalars(select(User)).all() == []


def test_no_password_is_needed_once_there_are_accounts(unit_of_work: UnitOfWork) -> None:
    with unit_of_work() as work:
        work.session.add(make_user("ada"))
    ensure_admin(unit_of_work, _settings(None))
    with unit_of_work.reading() as session:
        assert session.scalars(select(User.username)).all() == ["ada"]
