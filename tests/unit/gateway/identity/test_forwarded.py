"""Tests of the warning about proxies whose `X-Forwarded-For` is ignored."""

from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.identity import forwarded
from tests.unit.gateway.conftest import Api


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget earlier warnings."""
    forwarded.reported.clear()


def warnings(app: Any, header: str | None, count: int = 1) -> list[str]:
    """Return the peers that are warned of while a client tries to sign in."""
    client = TestClient(app, client=("172.18.0.5", 50_000), raise_server_exceptions=False)
    headers = {"X-Forwarded-For": header} if header else {}
    form = {"username": "nobody", "password": "wrong one"}
    with structlog.testing.capture_logs() as lines:
        for _ in range(count):
            client.post("/v1/token", headers=headers, data=form)
    return [str(line["peer"]) for line in lines if line["event"] == "forwarded_address_ignored"]


def test_header_of_an_untrusted_peer_is_warned_of_once(api: Api) -> None:
    assert warnings(api.client.app, "203.0.113.7", 3) == ["172.18.0.5"]


def test_header_of_a_trusted_proxy_is_not_warned_of(api: Api) -> None:
    app: Any = api.client.app
    trusting = ProxyHeadersMiddleware(app, trusted_hosts=["172.18.0.5"])
    assert warnings(trusting, "203.0.113.7") == []
    assert warnings(trusting, "198.51.100.1, 203.0.113.7") == []


def test_request_without_the_header_is_not_warned_of(api: Api) -> None:
    assert warnings(api.client.app, None) == []
