"""Tests of the limits on failed sign-ins, which never lock out the owner."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from itsdangerous import URLSafeTimedSerializer

from gateway.identity import accounts
from shared.db.models import User
from shared.errors import Unavailable
from tests.unit.gateway.conftest import PASSWORD, Api

DEVICE = "rayon_device"
#: The limits of the fixture `sign_in_limit_settings`.
AT_PAIR, OF_ADDRESS, AT_ACCOUNT = 5, 8, 10


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Return the user whose password is guessed."""
    return api.user(username="lovelace", password_hash=hashed)


def attempt(
    api: Api,
    address: str,
    username: str = "lovelace",
    password: str = "wrong one",
    device: str | None = None,
) -> Any:
    client = TestClient(
        api.client.app,
        client=(address, 50_000),
        raise_server_exceptions=False,
        cookies={DEVICE: device} if device else None,
    )
    return client.post("/v1/token", data={"username": username, "password": password})


def statuses(api: Api, address: str, count: int, username: str = "lovelace") -> list[int]:
    return [attempt(api, address, username).status_code for _ in range(count)]


@pytest.mark.parametrize("username", ["lovelace", "nobody"])
def test_failures_of_one_address_at_one_account_are_limited(
    api: Api, ada: User, username: str
) -> None:
    assert statuses(api, "203.0.113.1", AT_PAIR, username) == [401] * AT_PAIR
    refused = attempt(api, "203.0.113.1", username)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 15 * 60
    assert refused.headers["content-type"] == "application/problem+json"
    assert username not in refused.text


def test_right_password_is_refused_beyond_the_limit(api: Api, ada: User) -> None:
    statuses(api, "203.0.113.1", AT_PAIR)
    assert attempt(api, "203.0.113.1", password=PASSWORD).status_code == 429


def test_owner_can_sign_in_from_another_address(api: Api, ada: User) -> None:
    statuses(api, "203.0.113.1", AT_PAIR + 1)
    assert attempt(api, "198.51.100.7", password=PASSWORD).status_code == 200


def test_failures_of_one_address_at_many_accounts_are_limited(api: Api, ada: User) -> None:
    found = [attempt(api, "203.0.113.1", f"user{n}").status_code for n in range(OF_ADDRESS + 1)]
    assert found == [401] * OF_ADDRESS + [429]
    assert attempt(api, "198.51.100.7", "user0").status_code == 401


def test_failures_of_many_addresses_do_not_lock_out_the_owner(api: Api, ada: User) -> None:
    known = "198.51.100.7"
    assert attempt(api, known, password=PASSWORD).status_code == 200
    found = [attempt(api, f"203.0.113.{n}").status_code for n in range(AT_ACCOUNT + 5)]
    assert found == [401] * AT_ACCOUNT + [429] * 5
    # The right password does not help from an unknown address.
    assert attempt(api, "203.0.113.99", password=PASSWORD).status_code == 429
    assert attempt(api, known, password=PASSWORD).status_code == 200
    # A failed attempt of the owner from a known address is counted but not refused.
    assert attempt(api, known).status_code == 401
    assert attempt(api, known, password=PASSWORD).status_code == 200


def test_unknown_account_is_limited_like_an_existing_one(api: Api) -> None:
    found = [attempt(api, f"203.0.113.{n}", "nobody").status_code for n in range(AT_ACCOUNT + 1)]
    assert found == [401] * AT_ACCOUNT + [429]


def test_success_resets_the_failures(api: Api, ada: User) -> None:
    for _ in range(3):
        statuses(api, "203.0.113.1", 2)
        assert attempt(api, "203.0.113.1", password=PASSWORD).status_code == 200


def test_ipv6_addresses_of_one_network_count_together(api: Api, ada: User) -> None:
    for n in range(AT_PAIR):
        assert attempt(api, f"2001:db8:1:2::{n:x}").status_code == 401
    assert attempt(api, "2001:db8:1:2:ffff::1").status_code == 429
    assert attempt(api, "2001:db8:1:3::1").status_code == 401


def at_once(api: Api, count: int, *arguments: str) -> list[int]:
    """Return the sorted statuses of attempts that start together."""
    start = threading.Barrier(count)

    def guess() -> int:
        start.wait()
        status: int = attempt(api, *arguments).status_code
        return status

    with ThreadPoolExecutor(count) as pool:
        return sorted(future.result() for future in [pool.submit(guess) for _ in range(count)])


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let guesses wait for one another before they are verified. Return the verified ones."""
    verified: list[str] = []
    gathered = threading.Semaphore(0)

    def is_password(_user: User | None, password: str) -> bool:
        verified.append(password)
        gathered.acquire(timeout=0.5)
        return False

    monkeypatch.setattr(accounts, "is_password", is_password)
    return verified


def test_simultaneous_guesses_do_not_pass_the_limit(
    api: Api, ada: User, together: list[str]
) -> None:
    assert at_once(api, 40, "203.0.113.1") == [401] * AT_PAIR + [429] * (40 - AT_PAIR)
    assert len(together) == AT_PAIR


def test_guesses_of_the_current_password_at_once_do_not_exceed_the_limit(
    api: Api, ada: User, together: list[str]
) -> None:
    headers = api.sign(ada)
    start = threading.Barrier(20)

    def guess() -> int:
        start.wait()
        body = {"current_password": "wrong one", "new_password": "a better horse"}
        return api.client.put("/v1/me/password", headers=headers, json=body).status_code

    with ThreadPoolExecutor(20) as pool:
        found = sorted(future.result() for future in [pool.submit(guess) for _ in range(20)])
    assert found == [422] * AT_PAIR + [429] * (20 - AT_PAIR)
    assert len(together) == AT_PAIR


def test_successes_use_up_no_limit(api: Api, ada: User) -> None:
    found = {attempt(api, "203.0.113.1", password=PASSWORD).status_code for _ in range(12)}
    assert found == {200}
    assert statuses(api, "203.0.113.1", AT_PAIR) == [401] * AT_PAIR


def test_attempts_that_a_fault_interrupts_use_up_no_limit(
    api: Api, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise Unavailable("The database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "is_password", fail)
        assert statuses(api, "203.0.113.1", 12) == [503] * 12
    assert attempt(api, "203.0.113.1", password=PASSWORD).status_code == 200


def test_known_device_is_exempt_from_the_limit_of_an_address(api: Api, ada: User) -> None:
    shared = "203.0.113.1"
    device = attempt(api, shared, password=PASSWORD).cookies[DEVICE]
    for n in range(OF_ADDRESS + 1):
        attempt(api, shared, f"user{n}")
    statuses(api, shared, AT_PAIR + 1)
    assert attempt(api, shared, password=PASSWORD).status_code == 429
    assert attempt(api, shared, password=PASSWORD, device=device).status_code == 200


def test_guesses_of_a_known_device_have_a_limit_of_their_own(api: Api, ada: User) -> None:
    device = attempt(api, "203.0.113.1", password=PASSWORD).cookies[DEVICE]
    found = [attempt(api, f"198.51.100.{n}", device=device).status_code for n in range(AT_PAIR + 1)]
    assert found == [401] * AT_PAIR + [429]
    # They count neither for the addresses nor for the account.
    assert attempt(api, "198.51.100.1", password=PASSWORD).status_code == 200


def test_device_of_one_user_is_unknown_for_another(api: Api, ada: User, hashed: str) -> None:
    api.user(username="eve", password_hash=hashed)
    device = attempt(api, "203.0.113.9", "eve", PASSWORD).cookies[DEVICE]
    found = [attempt(api, "203.0.113.1", device=device).status_code for _ in range(AT_PAIR + 1)]
    assert found == [401] * AT_PAIR + [429]


def test_forged_device_is_unknown(api: Api, ada: User) -> None:
    device = attempt(api, "203.0.113.9", password=PASSWORD).cookies[DEVICE]
    forged = device[:-4] + "AAAA"
    statuses(api, "203.0.113.1", AT_PAIR)
    for cookie in (forged, "nonsense", "a.b.c"):
        assert attempt(api, "203.0.113.1", device=cookie).status_code == 429


def test_failed_sign_in_gets_no_device(api: Api, ada: User) -> None:
    assert DEVICE not in attempt(api, "203.0.113.1").cookies


def test_device_cookie_is_private(api: Api, ada: User) -> None:
    header = attempt(api, "203.0.113.1", password=PASSWORD).headers["set-cookie"]
    parts = {part.strip().lower() for part in header.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/v1"} <= parts
    cookie = header.partition("=")[2].partition(";")[0]
    _, readable = URLSafeTimedSerializer("any key").loads_unsafe(cookie)
    assert readable.keys() == {"user", "device"}
    assert "lovelace" not in repr(readable)
