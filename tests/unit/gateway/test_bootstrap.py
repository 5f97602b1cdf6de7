"""Tests of creating the first admin."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from gateway.bootstrap import AdminSettings, ensure_admin
from shared.db.models import User
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput
from shared.invalid_settings import InvalidSettings
from tests.support.factories import make_user


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
def test_bad_password_creates_no_account(unit_of_work: UnitOfWork, password: str | None) -> None:
    with pytest.raises(InvalidInput):
        ensure_admin(unit_of_work, _settings(password))
    with unit_of_work.reading() as session:
        assert session.scalars(select(User)).all() == []


def test_password_is_optional_once_accounts_exist(unit_of_work: UnitOfWork) -> None:
    with unit_of_work() as work:
        work.session.add(make_user("ada"))
    ensure_admin(unit_of_work, _settings(None))
    with unit_of_work.reading() as session:
        assert session.scalars(select(User.username)).all() == ["ada"]


def test_password_file_can_be_deleted_after_the_first_start(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "admin_password"
    monkeypatch.setenv("RAYON_ADMIN_PASSWORD_FILE", str(file))
    # Given a system that was started with the file
    file.write_text("correct horse\n")
    ensure_admin(unit_of_work, AdminSettings())
    # When it is started again without the file
    file.unlink()
    ensure_admin(unit_of_work, AdminSettings())
    # Then I expect the same account
    with unit_of_work.reading() as session:
        assert session.scalars(select(User.username)).all() == ["admin"]


def test_first_start_without_the_password_file_is_refused(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_ADMIN_PASSWORD_FILE", "/nowhere/admin_password")
    with pytest.raises(InvalidInput):
        ensure_admin(unit_of_work, AdminSettings())


def test_unreadable_password_file_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAYON_ADMIN_PASSWORD_FILE", str(tmp_path))
    with pytest.raises(InvalidSettings, match="Is a directory"):
        AdminSettings()
