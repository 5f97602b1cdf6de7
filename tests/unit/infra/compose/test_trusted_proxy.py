"""The gateway of Compose trusts the proxy of the profile `tls` without further settings."""

import json
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[4]
_VARIABLE = re.compile(r"\$\{(\w+):?-([^${}]*)\}")


def compose_file(**variables: str) -> dict[str, Any]:
    """Return the file as Compose reads it with some variables."""
    text = (PROJECT / "docker-compose.yml").read_text()
    for _ in range(2):  # Variables are nested once.
        text = _VARIABLE.sub(lambda found: variables.get(found[1], found[2]), text)
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def proxy_address(file: dict[str, Any]) -> str:
    """Return the address of the proxy in the network that it shares with the gateway."""
    (network,) = file["services"]["proxy"]["networks"]
    assert network in file["services"]["gateway"]["networks"]
    return str(file["services"]["proxy"]["networks"][network]["ipv4_address"])


@pytest.mark.parametrize("variables", [{}, {"RAYON_PROXY_ADDRESS": "10.9.8.7"}])
def test_gateway_trusts_the_proxy_and_nobody_else(variables: dict[str, str]) -> None:
    file = compose_file(**variables)
    trusted = file["services"]["gateway"]["environment"]["RAYON_GATEWAY_TRUSTED_PROXIES"]
    assert json.loads(trusted) == [proxy_address(file)]


def test_address_of_the_proxy_is_given_to_no_other_container() -> None:
    file = compose_file()
    address = ip_address(proxy_address(file))
    (pool,) = file["networks"]["front"]["ipam"]["config"]
    assert address in ip_network(pool["subnet"])
    assert address not in ip_network(pool["ip_range"])
    assert ip_network(pool["ip_range"]).subnet_of(ip_network(pool["subnet"]))  # type: ignore[arg-type]
