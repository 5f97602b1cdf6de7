"""Single sign-on with a running OpenID provider."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import select

from gateway.api.single_sign_on import PREFIX
from gateway.app import build_app
from gateway.identity.single_sign_on import SingleSignOn
from gateway.settings import SingleSignOnSettings
from shared.db.models import AuditEntry, Role, User
from shared.invalid_settings import InvalidSettings
from tests.support.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    IdentityProvider,
    identity_provider,
)
from tests.support.servers import free_port
from tests.unit.gateway import conftest as gateway
from tests.unit.gateway.conftest import Api

CALLBACK = f"http://testserver{PREFIX}/callback"

api, broker, migrated = gateway.api, gateway.broker, gateway.migrated
unit_of_work, sign_in_limit_settings = gateway.unit_of_work, gateway.sign_in_limit_settings
rate_settings, settings = gateway.rate_settings, gateway.settings
catalog_settings, release_settings = gateway.catalog_settings, gateway.release_settings


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[IdentityProvider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: IdentityProvider) -> IdentityProvider:
    """Return the provider without claims and faults of earlier tests."""
    shared_provider.claims, shared_provider.refusal = {}, None
    shared_provider.is_forged = shared_provider.omits_id_token = False
    return shared_provider


def browser_of(api: Api, issuer: str, **changes: Any) -> TestClient:
    """Return a browser on a gateway with this provider."""
    fields: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT_ID,
        "client_secret": SecretStr(CLIENT_SECRET),
        "redirect_url": CALLBACK,
        **changes,
    }
    sso = SingleSignOn(SingleSignOnSettings(**fields), api.unit_of_work, api.services.sessions)
    services = replace(api.services, single_sign_on=sso)
    return TestClient(build_app(services), raise_server_exceptions=False, follow_redirects=False)


def callback_url(provider_page: str) -> str:
    """Return the URL to which the provider redirects a browser."""
    return httpx.get(provider_page, follow_redirects=False).headers["location"]


def sign_in(browser: TestClient) -> Any:
    """Follow the redirects to the provider and back, and return the last response."""
    leaving = browser.get(PREFIX)
    assert leaving.status_code == 302, leaving.text
    return browser.get(callback_url(leaving.headers["location"]))


def account(api: Api, username: str) -> User | None:
    with api.unit_of_work.reading() as session:
        return session.scalar(select(User).where(User.username == username))


def test_new_person_gets_an_account_and_a_session(api: Api, provider: IdentityProvider) -> None:
    browser = browser_of(api, provider.address)
    tokens = sign_in(browser).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert browser.get("/v1/me", headers=bearer).json()["username"] == "jane"
    assert browser.get("/v1/me", headers=bearer).json()["role"] == "client"
    refreshed = browser.post("/v1/token/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 200
    with api.unit_of_work.reading() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)).all()
    assert actions == ["user.create", "session.start"]


def test_account_of_single_sign_on_accepts_no_password(
    api: Api, provider: IdentityProvider
) -> None:
    browser = browser_of(api, provider.address)
    sign_in(browser)
    for password in ("", "none yet", "jane"):
        answer = browser.post("/v1/token", data={"username": "jane", "password": password})
        assert answer.status_code in (401, 422)


def test_account_is_identified_by_the_subject_instead_of_the_name(
    api: Api, provider: IdentityProvider
) -> None:
    browser = browser_of(api, provider.address)
    sign_in(browser)
    provider.claims = {"preferred_username": "jane.doe"}
    assert sign_in(browser).status_code == 200
    assert account(api, "jane.doe") is None
    provider.claims = {"sub": "another person"}
    answer = sign_in(browser)
    assert answer.status_code == 409
    assert "'jane' belongs to an account" in answer.json()["detail"]


def test_account_with_a_password_is_not_taken_over(api: Api, provider: IdentityProvider) -> None:
    api.user(Role.ADMIN, username="root")
    provider.claims = {"preferred_username": "root"}
    assert sign_in(browser_of(api, provider.address)).status_code == 409


@pytest.mark.parametrize("name", ["Monitor", "adm1n", "deleted-x"])
def test_person_with_a_reserved_name_gets_no_account(
    api: Api, provider: IdentityProvider, name: str
) -> None:
    provider.claims = {"preferred_username": name}
    assert sign_in(browser_of(api, provider.address)).status_code == 403


@pytest.mark.parametrize(
    ("groups", "role"),
    [("rayon-admins", "admin"), (["staff", "rayon-ops"], "operator"), (["shop"], "client")],
)
def test_role_comes_from_the_claim(
    api: Api, provider: IdentityProvider, groups: object, role: str
) -> None:
    provider.claims = {"groups": groups}
    roles = {"rayon-admins": "admin", "rayon-ops": "operator", "shop": "client"}
    assert sign_in(browser_of(api, provider.address, roles_claim="groups", roles=roles)).is_success
    jane = account(api, "jane")
    assert jane is not None
    assert jane.role == role


def test_person_without_a_role_in_the_claim_is_rejected(
    api: Api, provider: IdentityProvider
) -> None:
    browser = browser_of(api, provider.address, roles_claim="groups", roles={"ops": "operator"})
    provider.claims = {"groups": ["ops"]}
    assert sign_in(browser).status_code == 200
    provider.claims = {"groups": ["cooks"]}
    answer = sign_in(browser)
    assert answer.status_code == 403
    assert "Expected one of ops in the claim `groups`" in answer.json()["detail"]


def test_new_person_is_rejected_if_accounts_are_not_created(
    api: Api, provider: IdentityProvider
) -> None:
    answer = sign_in(browser_of(api, provider.address, creates_accounts=False))
    assert answer.status_code == 403
    assert account(api, "jane") is None


def test_disabled_account_cannot_sign_in(api: Api, provider: IdentityProvider) -> None:
    browser = browser_of(api, provider.address)
    sign_in(browser)
    with api.unit_of_work() as work:
        work.session.query(User).filter_by(username="jane").update({"is_active": False})
    assert sign_in(browser).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another sign-in"},
        {"aud": "another client"},
        {"iss": "https://somebody.example"},
        {"exp": 1_000_000_000},
        {"sub": ""},
        {"preferred_username": "../root"},
        {"preferred_username": None},
    ],
    ids=str,
)
def test_invalid_claims_are_rejected(
    api: Api, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    answer = sign_in(browser_of(api, provider.address))
    assert answer.status_code in (401, 403), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert account(api, "jane") is None


def test_forged_or_missing_id_token_is_rejected(api: Api, provider: IdentityProvider) -> None:
    browser = browser_of(api, provider.address)
    provider.is_forged = True
    assert sign_in(browser).status_code == 401
    provider.is_forged, provider.omits_id_token = False, True
    assert sign_in(browser).status_code == 401


def test_error_of_the_provider_is_in_the_response(api: Api, provider: IdentityProvider) -> None:
    provider.refusal = "access_denied"
    answer = sign_in(browser_of(api, provider.address))
    assert answer.status_code == 401
    assert "access_denied" in answer.json()["detail"]


def test_sign_in_cannot_be_finished_in_another_browser(
    api: Api, provider: IdentityProvider
) -> None:
    first = browser_of(api, provider.address)
    callback = callback_url(first.get(PREFIX).headers["location"])
    second = browser_of(api, provider.address)
    assert second.get(callback).status_code == 401
    assert first.get(callback).status_code == 200


def test_callback_works_once(api: Api, provider: IdentityProvider) -> None:
    browser = browser_of(api, provider.address)
    callback = callback_url(browser.get(PREFIX).headers["location"])
    assert browser.get(callback).status_code == 200
    assert browser.get(callback).status_code == 401


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=z"])
def test_callback_without_a_started_sign_in_is_rejected(
    api: Api, provider: IdentityProvider, query: str
) -> None:
    assert browser_of(api, provider.address).get(f"{PREFIX}/callback{query}").status_code == 401


def test_provider_that_is_down_returns_503(api: Api) -> None:
    answer = browser_of(api, f"http://127.0.0.1:{free_port()}").get(PREFIX)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["detail"]


def test_single_sign_on_without_a_provider_returns_404(api: Api) -> None:
    for path in (PREFIX, f"{PREFIX}/callback"):
        answer = api.client.get(path)
        assert answer.status_code == 404
        assert "RAYON_SSO_ISSUER" in answer.json()["detail"]


def test_incomplete_settings_are_rejected() -> None:
    with pytest.raises(InvalidSettings, match="RAYON_SSO_CLIENT_ID, RAYON_SSO_CLIENT_SECRET"):
        SingleSignOnSettings(issuer="https://login.example.org")


def test_sign_in_of_the_console_continues_there_with_a_cookie(
    api: Api, provider: IdentityProvider
) -> None:
    browser = browser_of(api, provider.address)
    leaving = browser.get(PREFIX, params={"next": "/console/try"})
    back = browser.get(callback_url(leaving.headers["location"]))
    assert (back.status_code, back.headers["location"]) == (303, "/console/try")
    assert browser.get("/console/try").status_code == 200
    # A later sign-in of a program gets tokens again.
    assert "access_token" in sign_in(browser).json()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/v1/me", "x"])
def test_sign_in_of_the_console_never_continues_elsewhere(
    api: Api, provider: IdentityProvider, elsewhere: str
) -> None:
    browser = browser_of(api, provider.address)
    leaving = browser.get(PREFIX, params={"next": elsewhere})
    back = browser.get(callback_url(leaving.headers["location"]))
    assert back.headers["location"] == "/console"
