"""Tests of sign-in, access tokens, refresh tokens and sessions."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import select

from gateway.identity.accounts import hash_password
from gateway.identity.principal import ALGORITHM, AccessTokens, Claims
from shared.db.models import AuditEntry, LoginSession, Role, User, now
from shared.errors import Unauthenticated
from tests.unit.gateway.conftest import PASSWORD, Api


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Return a user who can sign in."""
    return api.user(username="ada", password_hash=hashed)


def _sign_in(api: Api, username: str = "ada", password: str = PASSWORD) -> Any:
    return api.client.post("/v1/token", data={"username": username, "password": password})


def _me(api: Api, token: str) -> Any:
    return api.client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


def test_password_is_exchanged_for_a_valid_token(api: Api, ada: User) -> None:
    answer = _sign_in(api)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    me = _me(api, answer.json()["access_token"]).json()
    assert (me["username"], me["role"]) == ("ada", "client")


def test_secret_of_a_refresh_token_is_not_stored(api: Api, ada: User) -> None:
    session_id, secret = _sign_in(api).json()["refresh_token"].split(".")
    login = api.get(LoginSession, session_id)
    assert login is not None
    assert secret not in login.token_hash
    assert len(login.token_hash) == 64


@pytest.mark.parametrize(
    ("username", "password"),
    [("ada", "wrong password"), ("nobody", PASSWORD), ("", PASSWORD + "x"), ("ADA", PASSWORD)],
)
def test_wrong_name_and_wrong_password_get_the_same_response(
    api: Api, ada: User, username: str, password: str
) -> None:
    answer = _sign_in(api, username or "x", password)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The username or the password is wrong"


def test_disabled_account_cannot_sign_in(api: Api, hashed: str) -> None:
    api.user(username="gone", password_hash=hashed, is_active=False)
    assert _sign_in(api, "gone").status_code == 401


def test_token_of_a_disabled_account_is_401_even_in_a_live_session(api: Api, ada: User) -> None:
    headers = api.sign(ada)
    with api.unit_of_work() as work:
        work.session.get_one(User, ada.id).is_active = False
    assert api.client.get("/v1/me", headers=headers).status_code == 401


def test_missing_password_is_422_with_the_field(api: Api) -> None:
    answer = api.client.post("/v1/token", data={"username": "ada"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["password"]


def test_no_token_is_401(api: Api) -> None:
    answer = api.client.get("/v1/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def _claims(api: Api, ada: User) -> dict[str, Any]:
    token = api.sign(ada)["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _signed(claims: dict[str, Any], key: str = "s" * 32, algorithm: str = ALGORITHM) -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


def test_token_with_valid_claims_and_signature_is_accepted(api: Api, ada: User) -> None:
    assert _me(api, _signed(_claims(api, ada))).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"exp": datetime.now(UTC) - timedelta(seconds=1)},
        {"aud": "another-service"},
        {"iss": "somebody-else"},
        {"typ": "refresh"},
        {"sub": "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11"},
        {"sid": "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_token_with_a_wrong_claim_is_401(api: Api, ada: User, change: dict[str, Any]) -> None:
    answer = _me(api, _signed({**_claims(api, ada), **change}))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("claim", ["exp", "aud", "iss", "typ", "sub", "sid"])
def test_token_without_a_claim_is_401(api: Api, ada: User, claim: str) -> None:
    claims = _claims(api, ada)
    del claims[claim]
    assert _me(api, _signed(claims)).status_code == 401


def test_forged_tokens_are_401(api: Api, ada: User) -> None:
    claims = _claims(api, ada)
    assert _me(api, _signed(claims, key="t" * 32)).status_code == 401
    assert _me(api, _signed(claims, key="", algorithm="none")).status_code == 401
    assert _me(api, "no token at all").status_code == 401


def _pass_leeway(api: Api, token: str) -> None:
    with api.unit_of_work() as work:
        login = work.session.get_one(LoginSession, token.partition(".")[0])
        login.refreshed_at = datetime.now(UTC) - timedelta(minutes=1)


def test_refresh_token_works_once_and_reuse_ends_the_session(api: Api, ada: User) -> None:
    first = _sign_in(api).json()
    second = _refresh(api, first["refresh_token"]).json()
    assert _me(api, second["access_token"]).status_code == 200

    _pass_leeway(api, first["refresh_token"])
    assert _refresh(api, first["refresh_token"]).status_code == 401
    assert _me(api, second["access_token"]).status_code == 401
    assert _refresh(api, second["refresh_token"]).status_code == 401


def test_simultaneous_refreshes_are_all_served(api: Api, ada: User) -> None:
    token = _sign_in(api).json()["refresh_token"]
    start = threading.Barrier(10)

    def refresh() -> Any:
        start.wait()
        return _refresh(api, token)

    with ThreadPoolExecutor(10) as pool:
        answers = [future.result() for future in [pool.submit(refresh) for _ in range(10)]]
    assert [answer.status_code for answer in answers] == [200] * 10
    (fresh,) = {answer.json()["refresh_token"] for answer in answers}
    assert fresh != token
    for answer in answers:
        assert _me(api, answer.json()["access_token"]).status_code == 200
    assert _refresh(api, fresh).status_code == 200


def test_repeated_refresh_does_not_extend_the_leeway(api: Api, ada: User) -> None:
    token = _sign_in(api).json()["refresh_token"]
    _refresh(api, token)
    _pass_leeway(api, token)
    with api.unit_of_work() as work:
        login = work.session.get_one(LoginSession, token.partition(".")[0])
        login.refreshed_at = began = now() - timedelta(seconds=5)
    assert _refresh(api, token).status_code == 200
    after = api.get(LoginSession, token.partition(".")[0])
    assert after is not None
    assert after.refreshed_at == began


def test_unknown_secret_does_not_end_the_session(api: Api, ada: User) -> None:
    token = _sign_in(api).json()["refresh_token"]
    session_id, _, secret = token.partition(".")
    other = _sign_in(api).json()["refresh_token"].partition(".")[2]
    for wrong in ("", "guessed", secret[:-1], f"{secret}x", f"{secret}~", other):
        assert _refresh(api, f"{session_id}.{wrong}").status_code == 401
    assert _refresh(api, token).status_code == 200
    with api.unit_of_work.reading() as session:
        actions = set(session.scalars(select(AuditEntry.action)))
    assert actions == {"session.start"}


def test_unknown_name_is_recorded_as_a_hash(api: Api, ada: User) -> None:
    typed = "my secret password"
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            _sign_in(api, typed, "return key")
        _sign_in(api, "ada", "wrong password")
    with api.unit_of_work.reading() as session:
        actors = session.scalars(select(AuditEntry.actor).order_by(AuditEntry.number)).all()
    assert typed not in repr((lines, actors))
    assert re.fullmatch(r"unknown:[0-9a-f]{16}", actors[0])
    assert actors[0] not in f"unknown:{sha256(typed.encode()).hexdigest()}"
    # The same name has the same hash, so that attempts can be counted by name.
    assert actors == [actors[0], actors[0], "ada"]


def test_token_of_two_refreshes_ago_is_reuse_at_once(api: Api, ada: User) -> None:
    first = _sign_in(api).json()
    second = _refresh(api, first["refresh_token"]).json()
    third = _refresh(api, second["refresh_token"]).json()
    assert _refresh(api, first["refresh_token"]).status_code == 401
    assert _refresh(api, third["refresh_token"]).status_code == 401


def test_reuse_in_one_session_does_not_end_another(api: Api, ada: User) -> None:
    stolen, other = _sign_in(api).json(), _sign_in(api).json()
    _refresh(api, stolen["refresh_token"])
    _pass_leeway(api, stolen["refresh_token"])
    assert _refresh(api, stolen["refresh_token"]).status_code == 401
    assert _refresh(api, other["refresh_token"]).status_code == 200


@pytest.mark.parametrize("token", ["", ".", "nonsense", "a.b.c"])
def test_unknown_refresh_token_is_401(api: Api, token: str) -> None:
    assert _refresh(api, token).status_code == 401


def test_access_token_cannot_refresh(api: Api, ada: User) -> None:
    assert _refresh(api, _sign_in(api).json()["access_token"]).status_code == 401


def test_expired_refresh_token_is_401(api: Api, ada: User) -> None:
    token = _sign_in(api).json()["refresh_token"]
    with api.unit_of_work() as work:
        login = work.session.get_one(LoginSession, token.partition(".")[0])
        login.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert _refresh(api, token).status_code == 401


def test_sign_out_ends_access_and_refresh_at_once(api: Api, ada: User) -> None:
    tokens = _sign_in(api).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert api.client.delete("/v1/token", headers=headers).status_code == 204
    assert api.client.get("/v1/me", headers=headers).status_code == 401
    assert _refresh(api, tokens["refresh_token"]).status_code == 401


def test_role_is_read_from_the_row_and_not_from_the_token(api: Api) -> None:
    boss = api.user(Role.ADMIN)
    headers = api.sign(boss)
    assert api.client.get("/v1/users", headers=headers).status_code == 200
    with api.unit_of_work() as work:
        work.session.get_one(User, boss.id).role = Role.CLIENT.value
    assert api.client.get("/v1/users", headers=headers).status_code == 403


def test_password_change_needs_the_current_one_and_ends_sessions(api: Api, ada: User) -> None:
    headers = api.sign(ada)
    body = {"current_password": "not this one", "new_password": "a better horse"}
    refused = api.client.put("/v1/me/password", headers=headers, json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "current_password"

    body["current_password"] = PASSWORD
    assert api.client.put("/v1/me/password", headers=headers, json=body).status_code == 204
    assert api.client.get("/v1/me", headers=headers).status_code == 401
    assert _sign_in(api).status_code == 401
    assert _sign_in(api, password="a better horse").status_code == 200


def _refresh(api: Api, token: str) -> Any:
    return api.client.post("/v1/token/refresh", json={"refresh_token": token})


def test_signing_key_is_replaced_without_ending_sessions(api: Api, ada: User) -> None:
    before = api.sign(ada)["Authorization"].removeprefix("Bearer ")
    old = api.services.settings
    new = old.model_copy(
        update={"secret_key": SecretStr("n" * 32), "previous_secret_keys": (old.secret_key,)}
    )
    after = AccessTokens(new)
    assert after.read(before).user_id == ada.id
    signed = after.sign(after.read(before))
    assert after.read(signed).user_id == ada.id
    # Neither key alone verifies a token that the other one signed.
    for other in (old, new.model_copy(update={"previous_secret_keys": ()})):
        with pytest.raises(Unauthenticated):
            AccessTokens(other).read(signed if other is old else before)


def test_token_that_was_verified_before_is_refused_once_it_has_expired(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = AccessTokens(api.services.settings)
    token = tokens.sign(Claims(ada.id, "session"))
    assert tokens.read(token).user_id == ada.id
    later = time.time() + api.services.settings.access_token_seconds
    monkeypatch.setattr("gateway.identity.principal.time.time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(token)


def test_changed_token_is_refused_although_the_original_was_verified(api: Api, ada: User) -> None:
    tokens = AccessTokens(api.services.settings)
    token = tokens.sign(Claims(ada.id, "session"))
    tokens.read(token)
    with pytest.raises(Unauthenticated, match="invalid"):
        tokens.read(f"{token[:-2]}{'A' if token[-2] != 'A' else 'B'}{token[-1]}")


def test_own_sessions_are_listed_and_ended(api: Api, ada: User) -> None:
    here, there, elsewhere = (_sign_in(api).json() for _ in range(3))
    headers = {"Authorization": f"Bearer {here['access_token']}", "User-Agent": "a browser"}
    listed = api.client.get("/v1/sessions", headers=headers).json()["items"]
    assert len(listed) == 3
    assert [one["is_current"] for one in listed] == [False, False, True]
    assert listed[0]["address"] == "testclient"

    there_id = there["refresh_token"].partition(".")[0]
    assert api.client.delete(f"/v1/sessions/{there_id}", headers=headers).status_code == 204
    assert _me(api, there["access_token"]).status_code == 401
    assert api.client.delete("/v1/sessions", headers=headers).status_code == 204
    assert _me(api, elsewhere["access_token"]).status_code == 401
    assert _me(api, here["access_token"]).status_code == 200


def test_session_of_somebody_else_is_404(api: Api, ada: User, mine: dict[str, str]) -> None:
    session_id = _sign_in(api).json()["refresh_token"].partition(".")[0]
    assert api.client.delete(f"/v1/sessions/{session_id}", headers=mine).status_code == 404
    assert api.get(LoginSession, session_id) is not None


def test_refresh_does_not_extend_a_session_beyond_its_maximum(api: Api) -> None:
    user = api.user(username="ada", password_hash=hash_password(PASSWORD))
    tokens = api.client.post("/v1/token", data={"username": "ada", "password": PASSWORD}).json()
    began = now() - timedelta(seconds=api.services.settings.session_seconds - 60)
    with api.unit_of_work() as work:
        work.session.query(LoginSession).filter_by(user_id=user.id).update({"created_at": began})
    refreshed = api.client.post(
        "/v1/token/refresh", json={"refresh_token": tokens["refresh_token"]}
    )
    assert refreshed.status_code == 200
    with api.unit_of_work.reading() as session:
        login = session.query(LoginSession).filter_by(user_id=user.id).one()
    assert login.expires_at <= now() + timedelta(seconds=60)
