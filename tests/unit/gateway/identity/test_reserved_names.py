"""Tests of usernames that nobody may register, and of names that look like them."""

import pytest

from gateway.identity.reserved_names import is_reserved
from shared.db.models import Role
from tests.unit.gateway.conftest import Api

Headers = dict[str, str]


@pytest.mark.parametrize(
    "name",
    [
        "admin",
        "Admin",
        "ADMIN",
        "adm1n",
        "AdmIn",
        "adrnin",
        "ad-min",
        "admin_",
        "monitor",
        "m0nitor",
        "system",
        "root",
        "r00t",
        "alertmanager",
        "deleted-x",
        "DELETED_0193f0c2",
        "de1eted-x",
        "worker-fusion",
        "\u0430dmin",
        "\uff41dmin",
        "\u13aadmin",
        "ro\u03bft",
    ],
)
def test_name_like_a_reserved_one_is_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize(
    "name",
    [
        "ada",
        "administrative.office",
        "monitoring-team",
        "deletedfiles",
        "systems",
        "rooter",
        "m",
        "jean@example.org",
        "user10",
        "2583",
        "-",
    ],
)
def test_ordinary_name_is_not_reserved(name: str) -> None:
    assert not is_reserved(name)


@pytest.mark.parametrize("name", ["Admin", "monitor", "deleted-x", "adm1n", "\u0430dmin"])
def test_reserved_and_confusable_names_are_refused(api: Api, admin: Headers, name: str) -> None:
    answer = api.client.post("/v1/users", headers=admin, json={"username": name})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["username"]


@pytest.mark.parametrize("name", ["Ada", "ADA"])
def test_name_that_differs_only_in_case_is_taken(api: Api, admin: Headers, name: str) -> None:
    api.user(username="ada")
    answer = api.client.post("/v1/users", headers=admin, json={"username": name})
    assert answer.status_code == 409
    assert [error["field"] for error in answer.json()["errors"]] == ["username"]


def test_existing_account_with_a_reserved_name_keeps_working(
    api: Api, admin: Headers, hashed: str
) -> None:
    api.user(Role.ADMIN, username="admin", password_hash=hashed)
    form = {"username": "admin", "password": "correct horse"}
    assert api.client.post("/v1/token", data=form).status_code == 200
    changed = api.client.patch("/v1/users/admin", headers=admin, json={"role": "operator"})
    assert changed.status_code == 200
