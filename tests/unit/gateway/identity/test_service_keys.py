"""Tests of the API key of Alertmanager: registration, scope and strength."""

from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.identity.scopes import Scope
from gateway.identity.service_keys import ALERTMANAGER, AlertmanagerSettings, ensure_key
from infra.compose.secrets import complete
from shared.db.models import ApiKey, Role, User
from shared.db.session import UnitOfWork
from shared.errors import Conflict
from shared.invalid_settings import InvalidSettings
from tests.unit.gateway.conftest import Api

KEY = "rayon_" + "k" * 32


def ensure(unit_of_work: UnitOfWork, key: str = KEY) -> str:
    with unit_of_work() as work:
        return ensure_key(work.session, ALERTMANAGER, key, Scope.OPERATIONS_WRITE)


def raise_alert(api: Api, headers: dict[str, str]) -> int:
    sent = {"version": "4", "alerts": []}
    return api.client.post("/v1/drift-alerts", headers=headers, json=sent).status_code


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_registered_key_raises_alerts_with_either_header(api: Api, headers: dict[str, str]) -> None:
    assert raise_alert(api, headers) == 401
    ensure(api.unit_of_work)
    assert raise_alert(api, headers) == 202


def test_registered_key_has_no_other_access(api: Api) -> None:
    ensure(api.unit_of_work)
    headers = {"Authorization": f"Bearer {KEY}"}
    assert api.client.get("/v1/queues", headers=headers).status_code == 403
    assert api.client.get("/v1/jobs", headers=headers).status_code == 403


def test_replaced_key_is_refused(api: Api) -> None:
    ensure(api.unit_of_work)
    ensure(api.unit_of_work, "rayon_" + "n" * 32)
    assert raise_alert(api, {"X-API-Key": KEY}) == 401
    assert raise_alert(api, {"X-API-Key": "rayon_" + "n" * 32}) == 202


def test_key_is_registered_once(unit_of_work: UnitOfWork) -> None:
    first, again = ensure(unit_of_work), ensure(unit_of_work)
    assert first != again
    with unit_of_work.reading() as session:
        assert len(session.scalars(select(ApiKey)).all()) == 1
        (user,) = session.scalars(select(User)).all()
        assert user.role == Role.OPERATOR.value


def test_account_of_a_person_gets_no_key(api: Api) -> None:
    api.user(Role.ADMIN, username=ALERTMANAGER)
    with pytest.raises(Conflict, match="account of a program"):
        ensure(api.unit_of_work)


def test_account_of_the_program_cannot_sign_in(api: Api) -> None:
    ensure(api.unit_of_work)
    form = {"username": ALERTMANAGER, "password": "none yet"}
    assert api.client.post("/v1/token", data=form).status_code == 401


def test_generated_key_of_a_new_installation_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(tmp_path)
    monkeypatch.setenv("RAYON_ALERTMANAGER_KEY_FILE", str(tmp_path / "alertmanager_key"))
    key = AlertmanagerSettings().key
    assert key is not None
    assert key.get_secret_value().startswith("rayon_")


@pytest.mark.parametrize("key", ["k" * 64, "rayon_short"])
def test_weak_key_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("RAYON_ALERTMANAGER_KEY", key)
    with pytest.raises(InvalidSettings, match="at least 32"):
        AlertmanagerSettings()
