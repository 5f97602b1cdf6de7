"""Tests of creating, using and revoking API keys."""

from datetime import timedelta
from typing import Any, NoReturn

import pytest

from gateway.identity.api_keys import MOST_KEYS
from gateway.identity.scopes import Scope
from shared.db.models import ApiKey, Role, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]
WANTED = {"name": "shop import", "scopes": ["jobs:write", "jobs:read"]}


def make(api: Api, headers: Headers, **changes: Any) -> Any:
    return api.client.post("/v1/api-keys", headers=headers, json={**WANTED, **changes})


def test_key_authenticates_as_its_owner(api: Api) -> None:
    ada = api.user(username="ada")
    made = make(api, api.sign(ada))
    assert made.status_code == 201
    key = {"X-API-Key": made.json()["key"]}
    assert api.client.get("/v1/me", headers=key).json()["username"] == "ada"
    job = api.client.post("/v1/jobs", headers=key, data={"designation": "Piscine"})
    assert job.status_code == 202
    url = job.headers["location"]
    assert api.client.get(url, headers=key).status_code == 200
    assert api.client.get(url, headers=api.sign(ada)).status_code == 200


def test_key_is_shown_once_and_only_its_hash_is_kept(api: Api, mine: Headers) -> None:
    made = make(api, mine).json()
    listed = api.client.get("/v1/api-keys", headers=mine)
    assert made["key"] not in listed.text
    [shown] = listed.json()["items"]
    assert made["key"].startswith(shown["prefix"])
    assert (shown["name"], shown["scopes"]) == ("shop import", ["jobs:read", "jobs:write"])
    row = api.get(ApiKey, shown["id"])
    assert row is not None
    assert len(row.key_hash) == 64
    assert made["key"] not in str(vars(row))


def test_last_use_is_listed(api: Api, mine: Headers) -> None:
    made = make(api, mine).json()
    assert api.client.get("/v1/api-keys", headers=mine).json()["items"][0]["last_used_at"] is None
    api.client.get("/v1/me", headers={"X-API-Key": made["key"]})
    [shown] = api.client.get("/v1/api-keys", headers=mine).json()["items"]
    assert shown["last_used_at"] is not None


def test_key_is_accepted_while_its_last_use_cannot_be_stored(
    api: Api, mine: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise Unavailable("The disk of the database is full")

    key = {"X-API-Key": make(api, mine).json()["key"]}
    monkeypatch.setattr(UnitOfWork, "__call__", refuse)
    assert api.client.get("/v1/me", headers=key).status_code == 200


def test_revoked_key_is_refused_at_once(api: Api, mine: Headers) -> None:
    made = make(api, mine).json()
    assert api.client.delete(f"/v1/api-keys/{made['id']}", headers=mine).status_code == 204
    assert api.client.get("/v1/me", headers={"X-API-Key": made["key"]}).status_code == 401
    assert api.client.delete(f"/v1/api-keys/{made['id']}", headers=mine).status_code == 404


def test_disabling_the_owner_revokes_the_keys_permanently(api: Api, admin: Headers) -> None:
    key = {"X-API-Key": make(api, api.sign(api.user(username="ada"))).json()["key"]}
    for is_active in (False, True):
        api.client.patch("/v1/users/ada", headers=admin, json={"is_active": is_active})
        assert api.client.get("/v1/me", headers=key).status_code == 401


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["jobs:everything"]}, "scopes.0"),
        ({"scopes": ["operations:read"]}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"expires_at": (now() - timedelta(seconds=1)).isoformat()}, "expires_at"),
        ({"expires_at": "2036-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"role": "admin"}, "role"),
    ],
)
def test_bad_key_is_422_with_the_field(
    api: Api, mine: Headers, change: dict[str, Any], field: str
) -> None:
    answer = make(api, mine, **change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_admin_may_have_every_scope(api: Api, admin: Headers) -> None:
    made = make(api, admin, scopes=list(Scope))
    assert made.status_code == 201
    assert len(made.json()["scopes"]) == len(Scope)


def test_key_loses_access_when_its_owner_loses_the_role(api: Api) -> None:
    boss = api.user(Role.ADMIN, username="boss")
    api.user(Role.ADMIN, username="other")
    headers = api.sign(boss)
    key = {"X-API-Key": make(api, headers, scopes=["operations:read"]).json()["key"]}
    assert api.client.get("/v1/dead-letters", headers=key).status_code == 200
    api.client.patch("/v1/users/boss", headers=headers, json={"role": "client"})
    assert api.client.get("/v1/dead-letters", headers=key).status_code == 403


def test_number_of_keys_is_limited(api: Api, mine: Headers) -> None:
    for _ in range(MOST_KEYS):
        assert make(api, mine).status_code == 201
    assert make(api, mine).status_code == 409
