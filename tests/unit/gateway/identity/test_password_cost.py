"""Tests of what a guess at a password costs, with the hasher of production."""

from collections.abc import Iterator

import pytest
from argon2 import Type, extract_parameters

from gateway.identity import accounts
from shared.db.models import User
from tests.support.factories import make_user
from tests.unit.gateway.conftest import PASSWORD, Api


@pytest.fixture(autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Leave the hasher of production in place."""
    accounts.dummy_hash.cache_clear()
    yield
    accounts.dummy_hash.cache_clear()


def test_passwords_are_hashed_as_rfc_9106_recommends() -> None:
    cost = extract_parameters(accounts.hash_password(PASSWORD))
    assert (cost.type, cost.memory_cost, cost.time_cost) == (Type.ID, 64 * 1024, 3)
    assert (cost.parallelism, cost.salt_len, cost.hash_len) == (4, 16, 32)


@pytest.mark.parametrize("user", [None, make_user("ada", password_hash=accounts.NO_PASSWORD)])
def test_account_without_a_password_costs_a_guess_as_much_as_one_with_a_password(
    monkeypatch: pytest.MonkeyPatch, user: User | None
) -> None:
    verified: list[str] = []

    class Recorder:
        """The hasher of production, which records what it verifies."""

        hash = accounts._HASHER.hash

        def verify(self, hashed: str, password: str) -> bool:
            """Verify a hash."""
            verified.append(hashed)
            return real.verify(hashed, password)

    real = accounts._HASHER
    hashed = accounts.hash_password(PASSWORD)
    monkeypatch.setattr(accounts, "_HASHER", Recorder())
    assert not accounts.is_password(user, PASSWORD)
    assert [extract_parameters(one) for one in verified] == [extract_parameters(hashed)]


def test_first_unknown_username_costs_no_hash_of_its_own(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_password: str) -> str:
        raise AssertionError("The dummy hash was computed during a request")

    class Recorder:
        """A hasher that verifies only."""

        verify = accounts._HASHER.verify
        hash = staticmethod(refuse)

    monkeypatch.setattr(accounts, "_HASHER", Recorder())
    form = {"username": "nobody", "password": "wrong password"}
    assert api.client.post("/v1/token", data=form).status_code == 401
