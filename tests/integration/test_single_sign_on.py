"""People come from an OpenID provider that really runs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from gateway.api.single_sign_on import PREFIX
from gateway.identity.single_sign_on import SingleSignOn
from gateway.main import build_app
from gateway.settings import SingleSignOnSettings
from shared.db.models import AuditEntry, Role, User
from tests.support.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    IdentityProvider,
    identity_provider,
)
from tests.support.servers import free_port
from tests.unit.gateway import conftest as gateway
from tests.unit.gateway.conftest import Api

BACK = f"http://testserver{PREFIX}/callback"

api, broker, migrated = gateway.api, gateway.broker, gateway.migrated
unit_of_work, sign_in_limit_settings = gateway.unit_of_work, gateway.sign_in_limit_settings
rate_settings, settings = gateway.rate_settings, gateway.settings


@pytest.fixture(scope="module")
def one_provider() -> Iterator[IdentityProvider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
def provider(one_provider: IdentityProvider) -> IdentityProvider:
    """Honest again for each test."""
    one_provider.claims, one_provider.refusal = {}, None
    one_provider.is_forged = one_provider.omits_id_token = False
    return one_provider


def front(api: Api, issuer: str, **changes: Any) -> TestClient:
    """A gateway that knows a provider."""
    fields: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT_ID,
        "client_secret": SecretStr(CLIENT_SECRET),
        "redirect_url": BACK,
        **changes,
    }
    sso = SingleSignOn(SingleSignOnSettings(**fields), api.unit_of_work, api.services.sessions)
    services = replace(api.services, single_sign_on=sso)
    return TestClient(build_app(services), raise_server_exceptions=False, follow_redirects=False)


def back_from(provider_page: str) -> str:
    """Where the provider sends somebody who was sent to it."""
    return httpx.get(provider_page, follow_redirects=False).headers["location"]


def go_there_and_back(browser: TestClient) -> Any:
    """Behave like a browser."""
    leaving = browser.get(PREFIX)
    assert leaving.status_code == 302, leaving.text
    return browser.get(back_from(leaving.headers["location"]))


def account(api: Api, username: str) -> User | None:
    with api.unit_of_work.reading() as session:
        return session.scalar(select(User).where(User.username == username))


def test_somebody_new_gets_an_account_and_is_signed_in(
    api: Api, provider: IdentityProvider
) -> None:
    browser = front(api, provider.address)
    tokens = go_there_and_back(browser).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert browser.get("/v1/me", headers=bearer).json()["username"] == "jane"
    assert browser.get("/v1/me", headers=bearer).json()["role"] == "client"
    refreshed = browser.post("/v1/token/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 200
    with api.unit_of_work.reading() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)).all()
    assert actions == ["user.create", "session.start"]


def test_no_password_fits_the_account(api: Api, provider: IdentityProvider) -> None:
    browser = front(api, provider.address)
    go_there_and_back(browser)
    for password in ("", "none yet", "jane"):
        answer = browser.post("/v1/token", data={"username": "jane", "password": password})
        assert answer.status_code in (401, 422)


def test_the_subject_and_not_the_name_is_the_person(api: Api, provider: IdentityProvider) -> None:
    browser = front(api, provider.address)
    go_there_and_back(browser)
    provider.claims = {"preferred_username": "jane.doe"}
    assert go_there_and_back(browser).status_code == 200
    assert account(api, "jane.doe") is None
    provider.claims = {"sub": "another person"}
    answer = go_there_and_back(browser)
    assert answer.status_code == 409
    assert "'jane' belongs to an account" in answer.json()["detail"]


def test_an_account_with_a_password_is_not_taken_over(api: Api, provider: IdentityProvider) -> None:
    api.user(Role.ADMIN, username="root")
    provider.claims = {"preferred_username": "root"}
    assert go_there_and_back(front(api, provider.address)).status_code == 409


@pytest.mark.parametrize(
    ("said", "role"),
    [("rayon-admins", "admin"), (["staff", "rayon-ops"], "operator"), (["shop"], "client")],
)
def test_the_claim_says_the_role(
    api: Api, provider: IdentityProvider, said: object, role: str
) -> None:
    provider.claims = {"groups": said}
    roles = {"rayon-admins": "admin", "rayon-ops": "operator", "shop": "client"}
    assert go_there_and_back(
        front(api, provider.address, roles_claim="groups", roles=roles)
    ).is_success
    jane = account(api, "jane")
    assert jane is not None
    assert jane.role == role


def test_a_role_follows_the_claim_and_nobody_without_one_comes_in(
    api: Api, provider: IdentityProvider
) -> None:
    browser = front(api, provider.address, roles_claim="groups", roles={"ops": "operator"})
    provider.claims = {"groups": ["ops"]}
    assert go_there_and_back(browser).status_code == 200
    provider.claims = {"groups": ["cooks"]}
    answer = go_there_and_back(browser)
    assert answer.status_code == 403
    assert "Expected one of ops in the claim `groups`" in answer.json()["detail"]


def test_without_accounts_for_everybody_only_the_known_come_in(
    api: Api, provider: IdentityProvider
) -> None:
    answer = go_there_and_back(front(api, provider.address, creates_accounts=False))
    assert answer.status_code == 403
    assert account(api, "jane") is None


def test_a_disabled_account_stays_out(api: Api, provider: IdentityProvider) -> None:
    browser = front(api, provider.address)
    go_there_and_back(browser)
    with api.unit_of_work() as work:
        work.session.query(User).filter_by(username="jane").update({"is_active": False})
    assert go_there_and_back(browser).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another sign-in"},
        {"aud": "another client"},
        {"iss": "https://somebody.example"},
        {"exp": 1_000_000_000},
        {"sub": ""},
        {"preferred_username": "../root"},
        {"preferred_username": None},
    ],
    ids=str,
)
def test_claims_that_do_not_fit_sign_nobody_in(
    api: Api, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    answer = go_there_and_back(front(api, provider.address))
    assert answer.status_code in (401, 403), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert account(api, "jane") is None


def test_a_forged_or_missing_token_signs_nobody_in(api: Api, provider: IdentityProvider) -> None:
    browser = front(api, provider.address)
    provider.is_forged = True
    assert go_there_and_back(browser).status_code == 401
    provider.is_forged, provider.omits_id_token = False, True
    assert go_there_and_back(browser).status_code == 401


def test_a_refusal_of_the_provider_is_told(api: Api, provider: IdentityProvider) -> None:
    provider.refusal = "access_denied"
    answer = go_there_and_back(front(api, provider.address))
    assert answer.status_code == 401
    assert "access_denied" in answer.json()["detail"]


def test_another_browser_cannot_finish_a_sign_in(api: Api, provider: IdentityProvider) -> None:
    begun = front(api, provider.address)
    returning = back_from(begun.get(PREFIX).headers["location"])
    victim = front(api, provider.address)
    assert victim.get(returning).status_code == 401
    assert begun.get(returning).status_code == 200


def test_a_way_back_leads_in_once(api: Api, provider: IdentityProvider) -> None:
    browser = front(api, provider.address)
    returning = back_from(browser.get(PREFIX).headers["location"])
    assert browser.get(returning).status_code == 200
    assert browser.get(returning).status_code == 401


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=z"])
def test_a_callback_that_nobody_asked_for_is_refused(
    api: Api, provider: IdentityProvider, query: str
) -> None:
    assert front(api, provider.address).get(f"{PREFIX}/callback{query}").status_code == 401


def test_a_provider_that_is_down_is_told_of(api: Api) -> None:
    answer = front(api, f"http://127.0.0.1:{free_port()}").get(PREFIX)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["detail"]


def test_without_a_provider_there_is_nothing(api: Api) -> None:
    for path in (PREFIX, f"{PREFIX}/callback"):
        answer = api.client.get(path)
        assert answer.status_code == 404
        assert "RAYON_SSO_ISSUER" in answer.json()["detail"]


def test_half_a_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="RAYON_SSO_CLIENT_ID, RAYON_SSO_CLIENT_SECRET"):
        SingleSignOnSettings(issuer="https://login.example.org")
