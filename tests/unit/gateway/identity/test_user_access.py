"""Tests of sessions and API keys of users, which admins and password changes end."""

from typing import Any

import pytest
from sqlalchemy import select

from shared.db.models import ApiKey, AuditEntry, LoginSession, User
from tests.unit.gateway.conftest import PASSWORD, Api

Headers = dict[str, str]
CHOSEN = "four random words"


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Return a user with a password."""
    return api.user(username="ada", password_hash=hashed)


def make_key(api: Api, headers: Headers, name: str = "import") -> dict[str, Any]:
    body = {"name": name, "scopes": ["jobs:read"]}
    made: dict[str, Any] = api.client.post("/v1/api-keys", headers=headers, json=body).json()
    return made


def jobs(api: Api, key: dict[str, Any]) -> int:
    return api.client.get("/v1/jobs", headers={"X-API-Key": key["key"]}).status_code


def actions(api: Api, actor: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    with api.unit_of_work.reading() as session:
        query = select(AuditEntry).where(AuditEntry.actor == actor).order_by(AuditEntry.number)
        return [(one.action, one.target, one.details) for one in session.scalars(query)]


@pytest.mark.parametrize("body", [None, {}, {"end_api_keys": False}])
def test_reset_keeps_api_keys_by_default(
    api: Api, admin: Headers, ada: User, body: dict[str, bool] | None
) -> None:
    key = make_key(api, api.sign(ada))
    answer = api.client.post("/v1/users/ada/reset", headers=admin, json=body)
    assert answer.status_code == 200
    assert jobs(api, key) == 200


def test_reset_can_end_api_keys(api: Api, admin: Headers, ada: User) -> None:
    key, other = make_key(api, api.sign(ada)), make_key(api, api.sign(api.user()))
    body = {"end_api_keys": True}
    answer = api.client.post("/v1/users/ada/reset", headers=admin, json=body)
    assert answer.status_code == 200
    assert (jobs(api, key), jobs(api, other)) == (401, 200)
    assert actions(api, "root") == [("user.reset", "ada", {"end_api_keys": True})]


@pytest.mark.parametrize(("ends", "status"), [(True, 401), (False, 200)])
def test_choice_of_a_password_can_end_api_keys(
    api: Api, admin: Headers, ada: User, ends: bool, status: int
) -> None:
    key = make_key(api, api.sign(ada))
    code = api.client.post("/v1/users/ada/reset", headers=admin).json()["code"]
    body = {"code": code, "new_password": CHOSEN, "end_api_keys": ends}
    assert api.client.post("/v1/password", json=body).status_code == 204
    assert jobs(api, key) == status
    assert actions(api, "ada")[-1] == ("password.choose", None, {"end_api_keys": ends})


@pytest.mark.parametrize(("ends", "status"), [(True, 401), (False, 200)])
def test_change_of_the_password_can_end_api_keys(
    api: Api, ada: User, ends: bool, status: int
) -> None:
    headers = api.sign(ada)
    key = make_key(api, headers)
    body = {"current_password": PASSWORD, "new_password": CHOSEN, "end_api_keys": ends}
    assert api.client.put("/v1/me/password", headers=headers, json=body).status_code == 204
    assert jobs(api, key) == status
    assert actions(api, "ada")[-1] == ("password.change", None, {"end_api_keys": ends})


def test_admin_lists_and_revokes_keys_of_a_user(api: Api, admin: Headers, ada: User) -> None:
    headers = api.sign(ada)
    first, second = make_key(api, headers, "first"), make_key(api, headers, "second")
    listed = api.client.get("/v1/users/ada/api-keys", headers=admin)
    assert [one["name"] for one in listed.json()["items"]] == ["second", "first"]
    assert first["key"] not in listed.text

    path = f"/v1/users/ada/api-keys/{first['id']}"
    assert api.client.delete(path, headers=admin).status_code == 204
    assert (jobs(api, first), jobs(api, second)) == (401, 200)
    assert api.client.delete("/v1/users/ada/api-keys", headers=admin).status_code == 204
    assert jobs(api, second) == 401
    assert actions(api, "root") == [
        ("user.revoke_key", "ada", {"key": first["prefix"]}),
        ("user.revoke_keys", "ada", {}),
    ]


def test_admin_lists_and_ends_sessions_of_a_user(api: Api, admin: Headers, ada: User) -> None:
    here, there = api.sign(ada), api.sign(ada)
    listed = api.client.get("/v1/users/ada/sessions", headers=admin).json()["items"]
    assert [one["is_current"] for one in listed] == [False, False]

    newest = listed[0]["id"]
    assert api.client.delete(f"/v1/users/ada/sessions/{newest}", headers=admin).status_code == 204
    assert api.client.get("/v1/me", headers=here).status_code == 200
    assert api.client.get("/v1/me", headers=there).status_code == 401
    assert actions(api, "root") == [("user.end_session", "ada", {"ended": newest})]


def test_objects_of_another_user_than_the_named_one_are_404(
    api: Api, admin: Headers, ada: User
) -> None:
    other = api.user(username="eve")
    headers = api.sign(other)
    key = make_key(api, headers)
    with api.unit_of_work.reading() as session:
        login = session.scalars(
            select(LoginSession.id).where(LoginSession.user_id == other.id)
        ).one()
    for path in (f"api-keys/{key['id']}", f"sessions/{login}"):
        assert api.client.delete(f"/v1/users/ada/{path}", headers=admin).status_code == 404
        assert api.client.delete(f"/v1/users/nobody/{path}", headers=admin).status_code == 404
    assert api.client.get("/v1/users/nobody/api-keys", headers=admin).status_code == 404
    assert api.client.get("/v1/users/nobody/sessions", headers=admin).status_code == 404
    assert api.get(ApiKey, key["id"]) is not None
    assert api.client.get("/v1/me", headers=headers).status_code == 200
