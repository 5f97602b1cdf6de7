"""Tests of the limits on failed sign-ins, which never lock out the owner."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.db.models import User
from tests.unit.gateway.conftest import PASSWORD, Api

#: The limits of the fixture `sign_in_limit_settings`.
AT_PAIR, OF_ADDRESS, AT_ACCOUNT = 5, 8, 10


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Return the user whose password is guessed."""
    return api.user(username="ada", password_hash=hashed)


def attempt(api: Api, address: str, username: str = "ada", password: str = "wrong one") -> Any:
    client = TestClient(api.client.app, client=(address, 50_000), raise_server_exceptions=False)
    return client.post("/v1/token", data={"username": username, "password": password})


def statuses(api: Api, address: str, count: int, username: str = "ada") -> list[int]:
    return [attempt(api, address, username).status_code for _ in range(count)]


@pytest.mark.parametrize("username", ["ada", "nobody"])
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
