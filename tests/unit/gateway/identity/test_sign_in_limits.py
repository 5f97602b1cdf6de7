"""Guessing passwords: slowed down, and never a way to lock the owner out."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.db.models import User
from tests.unit.gateway.conftest import PASSWORD, Api

#: As `sign_in_limit_settings` has them.
AT_PAIR, OF_ADDRESS, AT_ACCOUNT = 5, 8, 10


@pytest.fixture
def ada(api: Api, hashed: str) -> User:
    """Whose password is guessed."""
    return api.user(username="ada", password_hash=hashed)


def attempt(api: Api, address: str, username: str = "ada", password: str = "wrong one") -> Any:
    client = TestClient(api.client.app, client=(address, 50_000), raise_server_exceptions=False)
    return client.post("/v1/token", data={"username": username, "password": password})


def statuses(api: Api, address: str, count: int, username: str = "ada") -> list[int]:
    return [attempt(api, address, username).status_code for _ in range(count)]


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_guesses_at_one_account_end_soon_whether_it_exists_or_not(
    api: Api, ada: User, username: str
) -> None:
    assert statuses(api, "203.0.113.1", AT_PAIR, username) == [401] * AT_PAIR
    refused = attempt(api, "203.0.113.1", username)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 15 * 60
    assert refused.headers["content-type"] == "application/problem+json"
    assert username not in refused.text


def test_right_password_does_not_help_who_guessed_too_often(api: Api, ada: User) -> None:
    statuses(api, "203.0.113.1", AT_PAIR)
    assert attempt(api, "203.0.113.1", password=PASSWORD).status_code == 429


def test_owner_signs_in_from_elsewhere_meanwhile(api: Api, ada: User) -> None:
    statuses(api, "203.0.113.1", AT_PAIR + 1)
    assert attempt(api, "198.51.100.7", password=PASSWORD).status_code == 200


def test_guesses_at_many_accounts_from_one_address_end_too(api: Api, ada: User) -> None:
    found = [attempt(api, "203.0.113.1", f"user{n}").status_code for n in range(OF_ADDRESS + 1)]
    assert found == [401] * OF_ADDRESS + [429]
    assert attempt(api, "198.51.100.7", "user0").status_code == 401


def test_guesses_from_many_addresses_end_and_the_owner_still_signs_in(api: Api, ada: User) -> None:
    known = "198.51.100.7"
    assert attempt(api, known, password=PASSWORD).status_code == 200
    found = [attempt(api, f"203.0.113.{n}").status_code for n in range(AT_ACCOUNT + 5)]
    assert found == [401] * AT_ACCOUNT + [429] * 5
    # Neither with the right password, from an address that nobody knows.
    assert attempt(api, "203.0.113.99", password=PASSWORD).status_code == 429
    assert attempt(api, known, password=PASSWORD).status_code == 200
    # Even a slip of the owner's fingers is forgiven.
    assert attempt(api, known).status_code == 401
    assert attempt(api, known, password=PASSWORD).status_code == 200


def test_account_of_nobody_is_refused_like_one_that_exists(api: Api) -> None:
    found = [attempt(api, f"203.0.113.{n}", "nobody").status_code for n in range(AT_ACCOUNT + 1)]
    assert found == [401] * AT_ACCOUNT + [429]


def test_success_forgets_the_slips_before(api: Api, ada: User) -> None:
    for _ in range(3):
        statuses(api, "203.0.113.1", 2)
        assert attempt(api, "203.0.113.1", password=PASSWORD).status_code == 200


def test_addresses_of_one_network_are_one(api: Api, ada: User) -> None:
    for n in range(AT_PAIR):
        assert attempt(api, f"2001:db8:1:2::{n:x}").status_code == 401
    assert attempt(api, "2001:db8:1:2:ffff::1").status_code == 429
    assert attempt(api, "2001:db8:1:3::1").status_code == 401
