"""Tests of password changes: limited failures, and no write lock while a hash is computed."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gateway.identity import accounts
from shared.db.models import AuditEntry, User
from tests.unit.gateway.conftest import PASSWORD, Api

BETTER = "a better horse"
#: `of_address_at_account` of the fixture `sign_in_limit_settings`.
AT_PAIR = 5


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Return the user whose password is changed."""
    return api.user(username="ada", password_hash=hashed)


class Hasher:
    """A real hasher that runs a function before its first call and counts its calls."""

    def __init__(self, before: Callable[[], None]) -> None:
        self.calls = 0
        self._before = before
        self._real = accounts._HASHER

    def verify(self, hashed: str, password: str) -> bool:
        """Verify a hash."""
        self._do()
        return self._real.verify(hashed, password)

    def hash(self, password: str) -> str:
        """Hash a password."""
        self._do()
        return self._real.hash(password)

    def _do(self) -> None:
        self.calls += 1
        if self.calls == 1:
            self._before()


def hash_with(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> Hasher:
    hasher = Hasher(before)
    monkeypatch.setattr(accounts, "_HASHER", hasher)
    return hasher


def write_at_once(api: Api) -> None:
    """Take the write lock of the database, or fail at once if it is held."""
    connection = sqlite3.connect(str(api.unit_of_work.engine.url.database), timeout=0)
    connection.execute("BEGIN IMMEDIATE")
    connection.close()


def change(
    api: Api, headers: dict[str, str], current: str = PASSWORD, address: str = "203.0.113.1"
) -> Any:
    client = TestClient(api.client.app, client=(address, 50_000), raise_server_exceptions=False)
    body = {"current_password": current, "new_password": BETTER}
    return client.put("/v1/me/password", headers=headers, json=body)


@pytest.mark.parametrize(("current", "status"), [(PASSWORD, 204), ("wrong one", 422)])
def test_others_write_while_a_password_is_verified(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch, current: str, status: int
) -> None:
    headers = api.sign(ada)
    hasher = hash_with(monkeypatch, lambda: write_at_once(api))
    assert change(api, headers, current).status_code == status
    assert hasher.calls


def test_others_write_while_a_chosen_password_is_hashed(
    api: Api, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = api.client.post("/v1/users", headers=admin, json={"username": "ada"}).json()
    hasher = hash_with(monkeypatch, lambda: write_at_once(api))
    body = {"code": made["one_time_code"]["code"], "new_password": BETTER}
    assert api.client.post("/v1/password", json=body).status_code == 204
    assert hasher.calls


def test_others_write_while_the_password_of_a_new_account_is_hashed(
    api: Api, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = hash_with(monkeypatch, lambda: write_at_once(api))
    body = {"username": "ada", "password": BETTER}
    assert api.client.post("/v1/users", headers=admin, json=body).status_code == 201
    assert hasher.calls


def test_unknown_code_costs_no_hash(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = hash_with(monkeypatch, lambda: None)
    body = {"code": "nobody has it", "new_password": BETTER}
    assert api.client.post("/v1/password", json=body).status_code == 422
    assert hasher.calls == 0


def test_concurrent_password_change_is_not_overwritten(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_first() -> None:
        with api.unit_of_work() as work:
            work.session.get_one(User, ada.id).password_hash = "of somebody else"

    headers = api.sign(ada)
    hash_with(monkeypatch, change_first)
    assert change(api, headers).status_code == 409
    assert api.get(User, ada.id).password_hash == "of somebody else"  # type: ignore[union-attr]
    # The refused change has not ended the session.
    assert api.client.get("/v1/me", headers=headers).status_code == 200


def test_concurrently_redeemed_code_changes_nothing(
    api: Api, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = api.client.post("/v1/users", headers=admin, json={"username": "ada"}).json()
    body = {"code": made["one_time_code"]["code"], "new_password": BETTER}
    other = {**body, "new_password": "the first to come"}

    def choose_first() -> None:
        assert api.client.post("/v1/password", json=other).status_code == 204

    hash_with(monkeypatch, choose_first)
    assert api.client.post("/v1/password", json=body).status_code == 422
    form = {"username": "ada", "password": "the first to come"}
    assert api.client.post("/v1/token", data=form).status_code == 200


def test_guesses_with_a_token_are_limited(api: Api, ada: User) -> None:
    headers = api.sign(ada)
    guesses = [change(api, headers, f"guess {n}").status_code for n in range(AT_PAIR)]
    assert guesses == [422] * AT_PAIR
    refused = change(api, headers)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 15 * 60
    # The owner can still change the password from another address.
    assert change(api, headers, address="198.51.100.7").status_code == 204


def test_failures_at_sign_in_and_password_change_count_together(api: Api, ada: User) -> None:
    headers = api.sign(ada)
    for number in range(AT_PAIR):
        change(api, headers, f"guess {number}", address="testclient")
    form = {"username": "ada", "password": PASSWORD}
    assert api.client.post("/v1/token", data=form).status_code == 429


def test_right_password_resets_the_failures(api: Api, ada: User) -> None:
    for number in range(3):
        with api.unit_of_work() as work:
            work.session.get_one(User, ada.id).password_hash = ada.password_hash
        headers = api.sign(ada)
        assert [change(api, headers, f"slip {number}").status_code for _ in range(2)] == [422, 422]
        assert change(api, headers).status_code == 204


def test_wrong_password_is_in_the_audit_log(api: Api, ada: User) -> None:
    change(api, api.sign(ada), "wrong one")
    with api.unit_of_work.reading() as session:
        entry = session.query(AuditEntry).one()
    assert (entry.actor, entry.action, entry.address) == ("ada", "password.refuse", "203.0.113.1")
