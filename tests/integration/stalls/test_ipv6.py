"""The gateway serves IPv6: on all addresses together with IPv4, or on one."""

import os
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from tests.integration.stalls.conftest import Gateway


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database."""
    return sqlite_url


def probe(gateway: Gateway, host: str) -> int:
    """Return the exit code of the container's probe."""
    port = gateway.address.rpartition(":")[2]
    variables = {"RAYON_GATEWAY_HOST": host, "RAYON_GATEWAY_PORT": port}
    return subprocess.run(
        [sys.executable, "-m", "gateway.probe"], env={**os.environ, **variables}, check=False
    ).returncode


def test_all_addresses_are_those_of_both_protocols(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(RAYON_GATEWAY_HOST="::")
    assert gateway.address.startswith("http://[::1]:")
    port = gateway.address.rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    assert probe(gateway, "::") == 0


def test_one_address_may_be_of_ipv6(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(RAYON_GATEWAY_HOST="::1")
    assert probe(gateway, "::1") == 0
    port = gateway.address.rpartition(":")[2]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/livez")
