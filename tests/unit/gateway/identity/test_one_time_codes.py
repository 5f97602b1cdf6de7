"""Tests of one-time codes, with which users choose their passwords."""

from datetime import timedelta
from typing import Any

import pytest

from shared.db.models import OneTimeCode, now
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]
CHOSEN = "four random words"


def choose(api: Api, code: str, password: str = CHOSEN) -> Any:
    return api.client.post("/v1/password", json={"code": code, "new_password": password})


def sign_in(api: Api, password: str = CHOSEN) -> int:
    form = {"username": "ada", "password": password}
    return api.client.post("/v1/token", data=form).status_code


def invite(api: Api, admin: Headers) -> str:
    made = api.client.post("/v1/users", headers=admin, json={"username": "ada"})
    assert made.status_code == 201
    return str(made.json()["one_time_code"]["code"])


def test_invited_user_chooses_the_password(api: Api, admin: Headers) -> None:
    code = invite(api, admin)
    assert sign_in(api) == 401
    assert sign_in(api, "none yet") == 401
    assert choose(api, code).status_code == 204
    assert sign_in(api) == 200


def test_code_is_valid_once(api: Api, admin: Headers) -> None:
    code = invite(api, admin)
    assert choose(api, code).status_code == 204
    again = choose(api, code, "something else")
    assert again.status_code == 422
    assert again.json()["errors"][0]["field"] == "code"
    assert sign_in(api) == 200


def test_refused_password_does_not_consume_the_code(api: Api, admin: Headers) -> None:
    code = invite(api, admin)
    assert choose(api, code, "password1").status_code == 422
    assert choose(api, code).status_code == 204


def test_reset_keeps_the_old_password_until_the_code_is_redeemed(api: Api, admin: Headers) -> None:
    choose(api, invite(api, admin))
    form = {"username": "ada", "password": CHOSEN}
    token = api.client.post("/v1/token", data=form).json()["access_token"]
    reset = api.client.post("/v1/users/ada/reset", headers=admin)
    assert reset.status_code == 200
    assert sign_in(api) == 200
    assert choose(api, reset.json()["code"], "another password").status_code == 204
    assert sign_in(api) == 401
    assert sign_in(api, "another password") == 200
    me = api.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 401


def test_new_code_replaces_the_previous_one(api: Api, admin: Headers) -> None:
    first = invite(api, admin)
    second = api.client.post("/v1/users/ada/reset", headers=admin).json()["code"]
    assert choose(api, first).status_code == 422
    assert choose(api, second).status_code == 204


def test_code_that_expired_or_of_a_disabled_user_is_refused(api: Api, admin: Headers) -> None:
    code = invite(api, admin)
    with api.unit_of_work() as work:
        [row] = work.session.query(OneTimeCode)
        row.expires_at = now() - timedelta(seconds=1)
    assert choose(api, code).status_code == 422
    code = api.client.post("/v1/users/ada/reset", headers=admin).json()["code"]
    api.client.patch("/v1/users/ada", headers=admin, json={"is_active": False})
    assert choose(api, code).status_code == 422


@pytest.mark.parametrize("code", ["", "x", "x" * 200, "'; DROP TABLE users; --"])
def test_unknown_code_is_422_with_the_field(api: Api, code: str) -> None:
    answer = choose(api, code)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["code"]


def test_reset_of_an_unknown_user_is_404(api: Api, admin: Headers) -> None:
    assert api.client.post("/v1/users/nobody/reset", headers=admin).status_code == 404
