"""Tests of every route with every kind of caller. The access rules give the expectations."""

import re
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest
from fastapi.routing import APIRoute

from gateway.app import ROUTES
from gateway.console.app import PAGES
from gateway.identity.browser_cookie import CONSOLE
from gateway.identity.permissions import RULES, Keys, Rule
from gateway.identity.principal import ALGORITHM, AccessTokens, digest, new_secret
from gateway.identity.scopes import Scope
from shared.db.models import ApiKey, LoginSession, Role, User, new_id, now
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api

#: Routes of the API; `tests/unit/gateway/console/test_access.py` calls those of the console.
PROTECTED = {
    (method, path): rule
    for (method, path), rule in RULES.items()
    if not rule.is_public and not path.startswith(CONSOLE)
}
#: An id that no object has.
UNKNOWN_ID = "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11"
REFUSED = (401, 403)

Headers = dict[str, str]


def routes() -> set[tuple[str, str]]:
    """Return the method and path of every route of the application."""
    return {
        (method, route.path)
        for module in (*ROUTES, *PAGES)
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def call(api: Api, route: tuple[str, str], headers: Headers) -> int:
    """Call a route without a body and return the status."""
    method, path = route
    return api.client.request(
        method, re.sub(r"{\w+}", UNKNOWN_ID, path), headers=headers
    ).status_code


def key_of(api: Api, user: User, scopes: set[Scope], **changes: object) -> Headers:
    """Store an API key and return its header."""
    key = new_secret()
    fields: dict[str, object] = {
        "user_id": user.id,
        "name": "test",
        "prefix": key[:12],
        "key_hash": digest(key),
        "scopes": sorted(scopes),
        **changes,
    }
    api.add(ApiKey(**fields))
    return {"X-API-Key": key}


def token_with(api: Api, user: User, **claims: object) -> Headers:
    """Return the header of a validly signed token with changed claims."""
    token = api.sign(user)["Authorization"].removeprefix("Bearer ")
    original = jwt.decode(token, options={"verify_signature": False})
    key = api.services.settings.secret_key.get_secret_value()
    changed = jwt.encode({**original, **claims}, key, algorithm=ALGORITHM)
    assert AccessTokens(api.services.settings)
    return {"Authorization": f"Bearer {changed}"}


def _ended(api: Api) -> Headers:
    user = api.user(Role.ADMIN)
    headers = api.sign(user)
    with api.unit_of_work() as work:
        for login in work.session.query(LoginSession).filter_by(user_id=user.id):
            work.session.delete(login)
    return headers


def _revoked(api: Api) -> Headers:
    user = api.user(Role.ADMIN)
    headers = key_of(api, user, set(Scope))
    with api.unit_of_work() as work:
        work.session.query(ApiKey).filter_by(user_id=user.id).delete()
    return headers


UNAUTHENTICATED: dict[str, Callable[[Api], Headers]] = {
    "nothing": lambda _: {},
    "another scheme": lambda _: {"Authorization": "Basic cm9vdDpyb290"},
    "nonsense": lambda _: {"Authorization": "Bearer nonsense"},
    "expired token": lambda api: token_with(
        api, api.user(Role.ADMIN), exp=now() - timedelta(seconds=1)
    ),
    "wrong audience": lambda api: token_with(api, api.user(Role.ADMIN), aud="another-service"),
    "wrong issuer": lambda api: token_with(api, api.user(Role.ADMIN), iss="somebody"),
    "wrong type": lambda api: token_with(api, api.user(Role.ADMIN), typ="refresh"),
    "ended session": _ended,
    "disabled user": lambda api: api.sign(api.user(Role.ADMIN, is_active=False)),
    "unknown key": lambda _: {"X-API-Key": new_secret()},
    "revoked key": _revoked,
    "expired key": lambda api: key_of(
        api, api.user(Role.ADMIN), set(Scope), expires_at=now() - timedelta(seconds=1)
    ),
    "key of a disabled user": lambda api: key_of(
        api, api.user(Role.ADMIN, is_active=False), set(Scope)
    ),
}


def test_table_has_every_route_and_no_other() -> None:
    assert routes() == set(RULES)


@pytest.mark.parametrize("caller", UNAUTHENTICATED)
def test_unauthenticated_requests_are_401_everywhere(api: Api, caller: str) -> None:
    headers = UNAUTHENTICATED[caller](api)
    answers = {route: call(api, route, headers) for route in PROTECTED}
    assert {route: status for route, status in answers.items() if status != 401} == {}


@pytest.mark.parametrize("role", Role)
def test_role_may_call_exactly_the_routes_of_the_table(api: Api, role: Role) -> None:
    wrong = {}
    for route, rule in PROTECTED.items():
        # Each route gets a user of its own, because some routes end sessions.
        status = call(api, route, api.sign(api.user(role)))
        if (status not in REFUSED) != (role in rule.roles) or status >= 500:
            wrong[route] = status
    assert wrong == {}


@pytest.mark.parametrize("scope", Scope)
def test_key_may_call_exactly_the_routes_of_its_scope(api: Api, scope: Scope) -> None:
    headers = key_of(api, api.user(Role.ADMIN), {scope})
    wrong = {}
    for route, rule in PROTECTED.items():
        status = call(api, route, headers)
        is_open = rule.keys in (scope, Keys.ANY)
        if (status not in REFUSED) != is_open or (not is_open and status != 403):
            wrong[route] = status
    assert wrong == {}


@pytest.mark.parametrize("role", Role)
def test_key_with_every_scope_does_not_exceed_its_owner(api: Api, role: Role) -> None:
    headers = key_of(api, api.user(role), set(Scope))
    wrong = {}
    for route, rule in PROTECTED.items():
        status = call(api, route, headers)
        is_open = role in rule.roles and rule.keys is not Keys.NONE
        if (status not in REFUSED) != is_open:
            wrong[route] = status
    assert wrong == {}


#: Bodies that routes need, by method and the end of the path.
BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("PUT", "label"): {"prdtypecode": 2583},
    ("PATCH", "rows"): {"rows": []},
    ("POST", "check"): {"columns": {}},
}


@pytest.mark.parametrize("role", [Role.CLIENT, Role.OPERATOR])
def test_objects_of_another_user_are_404(api: Api, role: Role) -> None:
    owner = api.user()
    job = make_job(owner)
    login = LoginSession(
        id=new_id(), user_id=owner.id, token_hash=new_id(), expires_at=now() + timedelta(days=1)
    )
    key = ApiKey(user_id=owner.id, name="n", prefix="p", key_hash=new_id(), scopes=[])
    api.add(job, login, key)
    catalog = api.client.post(
        "/v1/catalogs",
        headers=api.sign(owner),
        files={"products": ("p.csv", b"designation\nPiscine\n")},
    ).json()["id"]
    ids = {"job_id": job.id, "session_id": login.id, "key_id": key.id, "catalog_id": catalog}
    other = api.sign(api.user(role))
    wrong, count = {}, 0
    for method, path in PROTECTED:
        owned = re.search(r"{(\w+)}", path)
        if owned and owned[1] in ids:
            url = path.replace(owned[0], ids[owned[1]])
            body = BODIES.get((method, path.rpartition("/")[2]))
            status = api.client.request(method, url, headers=other, json=body).status_code
            count += 1
            if status != 404:
                wrong[(method, path)] = status
    assert wrong == {}
    assert count >= 20


def test_route_that_is_not_in_the_table_is_refused(
    api: Api, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    less: dict[tuple[str, str], Rule] = {
        route: rule for route, rule in RULES.items() if route != ("GET", "/v1/users")
    }
    monkeypatch.setattr("gateway.identity.permissions.RULES", less)
    assert api.client.get("/v1/users", headers=admin).status_code == 403


def test_table_yields_more_than_1000_checks(capsys: pytest.CaptureFixture[str]) -> None:
    count = len(PROTECTED) * (len(UNAUTHENTICATED) + 2 * len(Role) + len(Scope))
    with capsys.disabled():
        print(f"\naccess: {len(RULES)} routes, {count} checks of who may call them")
    assert count > 1_000
