"""Tests of the management of accounts by admins."""

from typing import Any

import pytest

from gateway.identity.accounts import hash_password
from shared.db.models import Job, Role, User
from shared.errors import InvalidInput
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

NEW = {"username": "ada", "password": "correct horse", "role": "operator"}


def test_created_account_can_sign_in(api: Api, admin: dict[str, str]) -> None:
    answer = api.client.post("/v1/users", headers=admin, json=NEW)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/users/ada"
    assert answer.json()["role"] == "operator"
    assert "password" not in answer.text
    form = {"username": "ada", "password": "correct horse"}
    assert api.client.post("/v1/token", data=form).status_code == 200


def test_taken_name_is_409(api: Api, admin: dict[str, str]) -> None:
    api.user(username="ada")
    assert api.client.post("/v1/users", headers=admin, json=NEW).status_code == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "a/b"}, "username"),
        ({"username": "x" * 65}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "password1"}, "password"),
        ({"password": "PassWord1"}, "password"),
        ({"username": "ada.lovelace", "password": "Ada.Lovelace"}, "password"),
        ({"password": 12345678}, "password"),
        ({"role": "emperor"}, "role"),
        ({"is_root": True}, "is_root"),
    ],
)
def test_bad_account_is_422_with_the_field(
    api: Api, admin: dict[str, str], change: dict[str, Any], field: str
) -> None:
    answer = api.client.post("/v1/users", headers=admin, json={**NEW, **change})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("content", [b"", b"{not json"])
def test_body_that_is_no_json_is_422_naming_the_body(
    api: Api, admin: dict[str, str], content: bytes
) -> None:
    headers = {**admin, "Content-Type": "application/json"}
    answer = api.client.post("/v1/users", headers=headers, content=content)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["body"]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.OPERATOR])
def test_only_admins_see_and_change_accounts(api: Api, role: Role) -> None:
    headers = api.sign(api.user(role, username="eve"))
    call = api.client.request
    assert call("GET", "/v1/users", headers=headers).status_code == 403
    assert call("POST", "/v1/users", headers=headers, json=NEW).status_code == 403
    promoted = call("PATCH", "/v1/users/eve", headers=headers, json={"role": "admin"})
    assert promoted.status_code == 403
    assert call("DELETE", "/v1/users/eve", headers=headers).status_code == 403


def test_pages_contain_every_account_once(api: Api, admin: dict[str, str]) -> None:
    for name in ("b", "a", "d", "c"):
        api.user(username=name)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = api.client.get("/v1/users", headers=admin, params=params).json()
        seen += [user["username"] for user in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["a", "b", "c", "d", "root"]


def test_unknown_account_is_404(api: Api, admin: dict[str, str]) -> None:
    assert api.client.get("/v1/users/nobody", headers=admin).status_code == 404
    assert api.client.delete("/v1/users/nobody", headers=admin).status_code == 404
    changed = api.client.patch("/v1/users/nobody", headers=admin, json={"role": "client"})
    assert changed.status_code == 404


def test_disabled_account_is_signed_out_at_once(api: Api, admin: dict[str, str]) -> None:
    ada = api.sign(api.user(username="ada"))
    changed = api.client.patch("/v1/users/ada", headers=admin, json={"is_active": False})
    assert changed.json()["is_active"] is False
    assert api.client.get("/v1/me", headers=ada).status_code == 401
    api.client.patch("/v1/users/ada", headers=admin, json={"is_active": True})
    assert api.client.get("/v1/me", headers=ada).status_code == 401


@pytest.mark.parametrize("is_trusted", [True, False])
def test_admin_decides_if_labels_of_an_account_train(
    api: Api, admin: dict[str, str], is_trusted: bool
) -> None:
    api.user(username="ada")
    assert api.client.get("/v1/users/ada", headers=admin).json()["labels_trusted"] is None
    change = {"labels_trusted": is_trusted}
    answer = api.client.patch("/v1/users/ada", headers=admin, json=change)
    assert answer.json()["labels_trusted"] is is_trusted
    page = api.client.get("/v1/audit-log", headers=admin).json()
    entry = next(entry for entry in page["items"] if entry["action"] == "user.change")
    assert (entry["target"], entry["details"]) == ("ada", change)


def test_admin_cannot_set_the_password_of_another_user(api: Api, admin: dict[str, str]) -> None:
    api.user(username="ada")
    answer = api.client.patch("/v1/users/ada", headers=admin, json={"password": "a new password"})
    assert answer.status_code == 422


def test_search_matches_parts_of_the_username(api: Api, admin: dict[str, str]) -> None:
    for name in ("ada.lovelace", "grace", "LOVE_lace", "100%"):
        api.user(username=name)

    def found(search: str) -> list[str]:
        page = api.client.get("/v1/users", headers=admin, params={"search": search}).json()
        return [user["username"] for user in page["items"]]

    assert found("love") == ["LOVE_lace", "ada.lovelace"]
    assert found("%") == ["100%"]
    assert found("_") == ["LOVE_lace"]
    assert found("nobody") == []


def test_jobs_of_a_deleted_account_can_stay_without_its_name(
    api: Api, admin: dict[str, str]
) -> None:
    ada = api.user(username="ada")
    job = make_job(ada)
    api.add(job)
    headers = api.sign(ada)
    answer = api.client.delete("/v1/users/ada?jobs=keep", headers=admin)
    assert answer.status_code == 204
    assert api.get(Job, job.id) is not None
    assert api.client.get("/v1/me", headers=headers).status_code == 401
    names = [one["username"] for one in api.client.get("/v1/users", headers=admin).json()["items"]]
    assert names == ["root"]
    kept = api.get(User, ada.id)
    assert kept is not None
    assert kept.username == f"deleted-{ada.id}"
    assert api.client.get(f"/v1/users/{kept.username}", headers=admin).status_code == 404
    # The username is available again.
    again = api.client.post("/v1/users", headers=admin, json={"username": "ada"})
    assert again.status_code == 201


@pytest.mark.parametrize(
    ("method", "body"),
    [("PATCH", {"role": "client"}), ("PATCH", {"is_active": False}), ("DELETE", None)],
)
def test_last_active_admin_cannot_be_removed(
    api: Api, admin: dict[str, str], method: str, body: dict[str, Any] | None
) -> None:
    api.user(Role.ADMIN, username="asleep", is_active=False)
    answer = api.client.request(method, "/v1/users/root", headers=admin, json=body)
    assert answer.status_code == 409
    assert api.client.get("/v1/users/root", headers=admin).json()["role"] == "admin"


def test_one_of_two_admins_can_be_deleted(api: Api, admin: dict[str, str]) -> None:
    api.user(Role.ADMIN, username="second")
    assert api.client.delete("/v1/users/second", headers=admin).status_code == 204


def test_deleting_an_account_deletes_its_jobs(api: Api, admin: dict[str, str]) -> None:
    ada, bob = api.user(username="ada"), api.user(username="bob")
    hers, his = make_job(ada), make_job(bob)
    api.add(hers, his)
    headers = api.sign(ada)
    assert api.client.delete("/v1/users/ada", headers=admin).status_code == 204
    assert api.get(User, ada.id) is None
    assert api.get(Job, hers.id) is None
    assert api.get(Job, his.id) is not None
    assert api.client.get("/v1/me", headers=headers).status_code == 401


def test_admin_ends_all_sessions_of_a_user(api: Api, admin: dict[str, str]) -> None:
    ada = api.user(username="ada")
    sessions = [api.sign(ada), api.sign(ada)]
    other = api.sign(api.user())
    assert api.client.delete("/v1/users/ada/sessions", headers=admin).status_code == 204
    assert [api.client.get("/v1/me", headers=one).status_code for one in sessions] == [401, 401]
    assert api.client.get("/v1/me", headers=other).status_code == 200
    assert api.client.delete("/v1/users/nobody/sessions", headers=admin).status_code == 404


@pytest.mark.parametrize("password", ["rayon2026", "RayonAdmin", "passwordada!", "rakuten-1"])
def test_password_of_context_words_is_refused(api: Api, password: str) -> None:
    with pytest.raises(InvalidInput, match="hard to guess"):
        hash_password(password, "ada")
    assert hash_password(f"{password} and some more", "ada")
