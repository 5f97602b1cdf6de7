"""Sessions of browsers: their cookie, their renewal and their end."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from gateway.identity import browser_sessions
from gateway.identity.browser_sessions import BrowserSessions
from gateway.identity.principal import Origin
from shared.db.models import LoginSession, User, now
from shared.errors import Unauthenticated
from tests.unit.gateway.conftest import Api

ORIGIN = Origin(address="192.0.2.1", agent="Firefox", trace_id="0" * 32)


@pytest.fixture
def browsers(api: Api) -> BrowserSessions:
    return api.services.sessions.browsers


def start(api: Api, user: User) -> str:
    with api.unit_of_work() as work:
        return api.services.sessions.browsers.start(work.session, user, ORIGIN)


def login(api: Api, cookie: str) -> LoginSession:
    found = api.get(LoginSession, cookie.partition(".")[0])
    assert found is not None
    return found


def change(api: Api, cookie: str, **values: object) -> None:
    with api.unit_of_work() as work:
        work.session.execute(
            update(LoginSession).where(LoginSession.id == cookie.partition(".")[0]).values(**values)
        )


def test_cookie_names_its_user_with_role_and_language(api: Api, browsers: BrowserSessions) -> None:
    user = api.user(language="fr")
    principal = browsers.principal(start(api, user))
    assert (principal.username, principal.role, principal.language) == (
        user.username,
        user.role,
        "fr",
    )


def test_session_is_listed_with_address_and_agent(api: Api) -> None:
    kept = login(api, start(api, api.user()))
    assert (kept.address, kept.agent) == ("192.0.2.1", "Firefox")


@pytest.mark.parametrize(
    "spoil", [lambda it: it[:-1], lambda it: it + "x", lambda it: "", str.upper]
)
def test_changed_cookie_is_refused(api: Api, browsers: BrowserSessions, spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unauthenticated):
        browsers.principal(spoil(start(api, api.user())))


def test_secret_of_another_session_is_refused(api: Api, browsers: BrowserSessions) -> None:
    mine, other = start(api, api.user()), start(api, api.user())
    with pytest.raises(Unauthenticated):
        browsers.principal(f"{other.partition('.')[0]}.{mine.partition('.')[2]}")


def test_cookie_is_no_refresh_token_and_refusing_it_ends_nothing(
    api: Api, browsers: BrowserSessions
) -> None:
    cookie = start(api, api.user())
    answer = api.client.post("/v1/token/refresh", json={"refresh_token": cookie})
    assert answer.status_code == 401
    assert browsers.principal(cookie)


def test_expired_session_is_refused(api: Api, browsers: BrowserSessions) -> None:
    cookie = start(api, api.user())
    change(api, cookie, expires_at=now() - timedelta(seconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        browsers.principal(cookie)


def test_disabled_account_is_refused(api: Api, browsers: BrowserSessions) -> None:
    user = api.user()
    cookie = start(api, user)
    with api.unit_of_work() as work:
        work.session.execute(update(User).where(User.id == user.id).values(is_active=False))
    with pytest.raises(Unauthenticated):
        browsers.principal(cookie)


def test_used_session_is_renewed_after_an_hour_and_not_before(
    api: Api, browsers: BrowserSessions
) -> None:
    cookie = start(api, api.user())
    soon = now() + timedelta(minutes=5)
    change(api, cookie, expires_at=soon)
    browsers.principal(cookie)
    assert login(api, cookie).expires_at == soon
    change(api, cookie, refreshed_at=now() - browser_sessions.RENEWAL - timedelta(seconds=1))
    browsers.principal(cookie)
    assert login(api, cookie).expires_at > soon


def test_session_is_not_renewed_beyond_its_longest_time(
    api: Api, browsers: BrowserSessions
) -> None:
    cookie = start(api, api.user())
    longest = timedelta(seconds=api.services.settings.session_seconds)
    begun = now() - longest + timedelta(minutes=1)
    change(api, cookie, created_at=begun)
    browsers.principal(cookie)
    assert login(api, cookie).expires_at == begun + longest


def test_language_of_the_account_is_set_and_removed(api: Api) -> None:
    headers = api.sign(api.user())
    changed = api.client.patch("/v1/me", json={"language": "fr"}, headers=headers)
    assert changed.json()["language"] == "fr"
    assert api.client.patch("/v1/me", json={}, headers=headers).json()["language"] == "fr"
    removed = api.client.patch("/v1/me", json={"language": None}, headers=headers)
    assert removed.json()["language"] is None
    assert api.client.patch("/v1/me", json={"language": "de"}, headers=headers).status_code == 422
