"""Access to the console: cookies, roles, other users and other sites."""

import re
from collections.abc import Callable

import pytest

from gateway.identity import accounts
from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.permissions import RULES
from shared.db.models import LoginSession, Role
from tests.support.factories import make_catalog, make_job
from tests.unit.gateway.conftest import PASSWORD, Api
from tests.unit.gateway.console.conftest import HTML, Browser

UNKNOWN_ID = "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11"
PAGES = {route: rule for route, rule in RULES.items() if route[1].startswith(CONSOLE)}
PROTECTED = {route: rule for route, rule in PAGES.items() if not rule.is_public}


def request(api: Api, route: tuple[str, str], headers: dict[str, str], object_id: str) -> int:
    method, path = route
    url = re.sub(r"{\w+}", object_id, path)
    return api.client.request(method, url, headers=headers, follow_redirects=False).status_code


STRANGERS: dict[str, Callable[[Api], dict[str, str]]] = {
    "nothing": lambda _: {},
    "a token of the API": lambda api: api.sign(api.user(Role.ADMIN)),
    "an invented cookie": lambda _: {"Cookie": f"rayon_session={UNKNOWN_ID}.secret"},
    "a cookie without a secret": lambda _: {"Cookie": f"rayon_session={UNKNOWN_ID}"},
    "the cookie of TLS without TLS": lambda api: {
        "Cookie": f"__Host-rayon_session={Browser(api, api.user(Role.ADMIN)).cookie}"
    },
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_strangers_are_refused_everywhere(api: Api, stranger: str) -> None:
    headers = {**STRANGERS[stranger](api), "Sec-Fetch-Site": "same-origin"}
    answers = {route: request(api, route, headers, UNKNOWN_ID) for route in PROTECTED}
    assert {route: status for route, status in answers.items() if status != 401} == {}


@pytest.mark.parametrize("role", Role)
def test_role_opens_exactly_the_pages_of_the_table(
    open_browser: Callable[..., Browser], role: Role
) -> None:
    wrong = {}
    for route, rule in PROTECTED.items():
        browser = open_browser(role)
        status = request(browser.api, route, browser.headers, UNKNOWN_ID)
        if (status not in (401, 403)) != (role in rule.roles) or status >= 500:
            wrong[route] = status
    assert wrong == {}


@pytest.mark.parametrize("role", Role)
def test_menu_has_only_pages_that_the_role_may_open(
    open_browser: Callable[..., Browser], role: Role
) -> None:
    browser = open_browser(role)
    links = re.findall(r'<a href="([^"]+)" data-go', browser.get(CONSOLE).text)
    assert links
    assert {link: browser.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_cookie_opens_no_route_of_the_api(browser: Browser) -> None:
    assert browser.get("/v1/jobs").status_code == 401


def test_objects_of_other_users_are_not_found(
    api: Api, open_browser: Callable[..., Browser]
) -> None:
    owner, other = open_browser(), open_browser(Role.OPERATOR)
    job, catalog = make_job(owner.user), make_catalog(owner.user)
    api.add(job, catalog)
    session_id = owner.cookie.partition(".")[0]
    ids = {"job_id": job.id, "session_id": session_id, "catalog_id": catalog.id}
    wrong = {}
    for method, path in PROTECTED:
        owned = re.search(r"{(\w+)}", path)
        if owned and owned[1] in ids:
            status = request(api, (method, path), other.headers, ids[owned[1]])
            if status != 404:
                wrong[(method, path)] = status
    assert wrong == {}
    assert api.get(LoginSession, session_id) is not None


FOREIGN = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another host of the site": {"Sec-Fetch-Site": "same-site"},
    "an old browser on another site": {"Origin": "https://evil.example"},
    "an old browser without origin": {},
    "a sandboxed page": {"Origin": "null"},
}


@pytest.mark.parametrize("sender", FOREIGN)
def test_forms_of_other_sites_are_refused_and_do_nothing(browser: Browser, sender: str) -> None:
    headers = {name: value for name, value in browser.headers.items() if name != "Sec-Fetch-Site"}
    for method, path in PAGES:
        if method != "GET":
            status = request(browser.api, (method, path), {**headers, **FOREIGN[sender]}, "x")
            assert status == 403, path
    assert browser.get(CONSOLE).status_code == 200


def test_old_browser_on_the_own_page_is_admitted(browser: Browser) -> None:
    headers = {name: value for name, value in browser.headers.items() if name != "Sec-Fetch-Site"}
    headers["Origin"] = str(browser.api.client.base_url)
    route = ("POST", f"{CONSOLE}/sign-out")
    assert request(browser.api, route, headers, "") == 303


def test_pages_run_nothing_inline_and_ask_no_other_host(browser: Browser) -> None:
    page = browser.get(f"{CONSOLE}/try")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert len(page.headers.get_list("content-security-policy")) == 1
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=", page.text)
    assert "no-store" in page.headers["cache-control"]


def test_cookie_over_tls_belongs_to_the_host_alone(api: Api) -> None:
    api.user(username="tls", password_hash=accounts.hash_password(PASSWORD))
    answer = api.client.post(
        "https://testserver/console/sign-in",
        data={"username": "tls", "password": PASSWORD, "next": ""},
        headers={"Sec-Fetch-Site": "same-origin", "Accept": HTML},
        follow_redirects=False,
    )
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "rayon_session" in c)
    assert cookie.startswith("__Host-rayon_session=")
    assert all(part in cookie for part in ("Secure", "HttpOnly", "Path=/;", "SameSite=lax"))
    assert "Domain" not in cookie
