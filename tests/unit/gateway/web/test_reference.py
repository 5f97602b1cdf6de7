"""Tests of the API reference, which needs neither internet access nor inline scripts."""

import re
from urllib.parse import urljoin

from tests.unit.gateway.conftest import Api

_ADDRESS = re.compile(r"""(?:src|href)=["']([^"']+)""")


def test_reference_loads_nothing_from_elsewhere(api: Api) -> None:
    page = api.client.get("/docs")
    addresses = _ADDRESS.findall(page.text)
    assert len(addresses) == 4
    for address in addresses:
        assert not re.match(r"[a-z]+:|//", address)
        asset = api.client.get(urljoin("/docs", address))
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in (
            "text/javascript",
            "text/css",
            "image/png",
        )
        assert len(asset.content) > 100
    start = api.client.get("/docs/start.js").text
    (document,) = re.findall(r'url: "([^"]+)"', start)
    assert api.client.get(urljoin("/docs", document)).json()["info"]["title"] == "Rayon"


def test_reference_works_under_a_strict_policy(api: Api) -> None:
    page = api.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    # The policy would block inline code.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page.text)
