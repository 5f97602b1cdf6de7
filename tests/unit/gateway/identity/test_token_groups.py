"""Tests of tokens that are looked up together: a bad one fails alone."""

import base64

import pytest

from shared.errors import Unauthenticated
from tests.unit.gateway.conftest import Api


@pytest.mark.parametrize("header", [b"[" * 20_000, b"\xff\xfe", b"{}", b"[]", b'{"kid": {}}'])
def test_a_malformed_token_is_unauthenticated_and_fails_no_other(
    api: Api, mine: dict[str, str], header: bytes
) -> None:
    bad = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.e30"
    good = mine["Authorization"].partition(" ")[2]
    refused, found = api.services.sessions.principals([bad, good])
    assert isinstance(refused, Unauthenticated)
    assert not isinstance(found, Exception)
    answer = api.client.get("/v1/jobs", headers={"Authorization": f"Bearer {bad}"})
    assert answer.status_code == 401
