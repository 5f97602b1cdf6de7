"""Sign-in: lockout of an owner, raced guesses, keys that survive, and the ends of sessions."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import PASSWORD, Target

#: Address that owner and attacker share, as behind a proxy that is not named.
SHARED = "127.0.0.70"
FAILURES, AT_ONCE, LOOKED_AT = 60, 40, 10
REFRESHES = 10
WRONG = "a wrong password"


def attacks(target: Target) -> list[Figure]:
    """Guess, lock out, reset and refresh."""
    return [
        _raced(target),
        _keys_after_reset(target),
        _wrong_refresh(target),
        _refreshes(target),
        _names_in_audit(target),
        _reserved_names(target),
        _locked_out(target),
    ]


def _locked_out(target: Target) -> Figure:
    with target.account("owner", "admin", SHARED) as owner:
        with target.http(SHARED) as stranger:
            statuses = [_sign_in(stranger, f"user{number}", WRONG) for number in range(FAILURES)]
        # The client still has what its own sign-in left, such as a cookie.
        status = _sign_in(owner, "owner", PASSWORD)
    return Figure(
        "7",
        f"sign-ins of an admin refused after {FAILURES} failures of others at the same address",
        float(status != 200),
        "of 1",
        0,
        "test_known_device_is_exempt_from_the_limit_of_an_address",
        f"status {status}; failures: {statuses.count(401)} × 401, {statuses.count(429)} × 429",
    )


def _sign_in(http: httpx.Client, name: str, password: str) -> int:
    return http.post("/v1/token", data={"username": name, "password": password}).status_code


def _raced(target: Target) -> Figure:
    target.account("raced").close()
    statuses = asyncio.run(_guess_at_once(target))
    return Figure(
        "8",
        f"passwords looked at of {AT_ONCE} simultaneous guesses at one account",
        statuses.count(401),
        "guesses",
        LOOKED_AT,
        "test_simultaneous_guesses_do_not_pass_the_limit",
        f"{statuses.count(429)} × 429",
    )


async def _guess_at_once(target: Target) -> list[int]:
    transport = httpx.AsyncHTTPTransport(
        local_address="127.0.0.80", limits=httpx.Limits(max_connections=AT_ONCE)
    )
    async with httpx.AsyncClient(
        base_url=target.system.address, transport=transport, timeout=60
    ) as http:
        # Connections first, so that the guesses arrive together.
        await asyncio.gather(*(http.get("/livez") for _ in range(AT_ONCE)))
        guesses = (
            http.post("/v1/token", data={"username": "raced", "password": f"guess {number}"})
            for number in range(AT_ONCE)
        )
        return [answer.status_code for answer in await asyncio.gather(*guesses)]


def _keys_after_reset(target: Target) -> Figure:
    attack = "API keys that live on after a reset that asked to end them"
    test = "test_reset_can_end_api_keys"
    with target.account("stolen") as owner, target.admin() as admin:
        made = owner.post("/v1/api-keys", json={"name": "theft", "scopes": ["jobs:read"]})
        made.raise_for_status()
        asked = admin.post("/v1/users/stolen/reset", json={"end_api_keys": True})
        with target.http(headers={"X-API-Key": made.json()["key"]}) as thief:
            status = thief.get("/v1/jobs").status_code
        others = admin.get("/v1/users/stolen/api-keys").status_code
    note = f"reset {asked.status_code}; key {status}; admin lists keys of others: {others}"
    return Figure("9", attack, float(status == 200), "of 1", 0, test, note)


def _pair(target: Target, name: str) -> str:
    target.account(name).close()
    with target.http() as http:
        answer = http.post("/v1/token", data={"username": name, "password": PASSWORD})
        return str(answer.json()["refresh_token"])


def _refresh(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/v1/token/refresh", json={"refresh_token": token})


def _wrong_refresh(target: Target) -> Figure:
    token = _pair(target, "refreshed")
    with target.http() as http:
        _refresh(http, f"{token.partition('.')[0]}.wrong")
        status = _refresh(http, token).status_code
    return Figure(
        "low",
        "sessions ended by a refresh token with a valid session id and a wrong secret",
        float(status != 200),
        "of 1",
        0,
        "test_unknown_secret_does_not_end_the_session",
    )


def _refreshes(target: Target) -> Figure:
    token = _pair(target, "hasty")
    with target.http() as http, ThreadPoolExecutor(REFRESHES) as pool:
        answers = list(pool.map(lambda _: _refresh(http, token), range(REFRESHES)))
        pairs = [one.json() for one in answers if one.status_code == 200]
        # Any of the clients may be the one whose answer arrived last.
        alive = sum(_refresh(http, pair["refresh_token"]).status_code == 200 for pair in pairs[-1:])
    return Figure(
        "low",
        f"of {REFRESHES} simultaneous refreshes refused, or the session ended by them",
        REFRESHES - len(pairs) + (0 if alive else 1),
        "refusals",
        0,
        "test_simultaneous_refreshes_are_all_served",
    )


def _names_in_audit(target: Target) -> Figure:
    typed = "MyPassw0rdTypedAsName"
    with target.http("127.0.0.81") as http:
        _sign_in(http, typed, WRONG)
    with target.admin() as admin:
        page = admin.get("/v1/audit-log", params={"limit": 50}).text
    logs = sum(
        typed in path.read_text(errors="replace") for path in target.system.home.rglob("*.log")
    )
    return Figure(
        "low",
        "places where a password typed as user name stays in plain text (audit, logs)",
        float(typed in page) + logs,
        "places",
        0,
        "test_unknown_name_is_recorded_as_a_hash",
    )


def _reserved_names(target: Target) -> Figure:
    # The last one has a Cyrillic letter.
    names = ("Admin", "monitor", "deleted-x", "ADMIN", "Monitor", "\u0430dmin")
    with target.admin() as admin:
        made = [
            name
            for name in names
            if admin.post("/v1/users", json={"username": name}).status_code == 201
        ]
    return Figure(
        "low",
        "reserved or confusable names that can be registered",
        len(made),
        f"of {len(names)}",
        0,
        "test_reserved_and_confusable_names_are_refused",
        ", ".join(made),
    )
