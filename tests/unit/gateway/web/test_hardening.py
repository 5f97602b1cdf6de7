"""Tests of security headers, CORS, and secrets in production."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from gateway.app import build_app
from gateway.identity.secret_strength import complaints, is_weak
from gateway.settings import GatewaySettings
from shared.invalid_settings import InvalidSettings
from shared.settings import BrokerSettings, DatabaseSettings
from tests.unit.gateway.conftest import Api

STRONG = "kJ8#pQ2vX9!mZ4wR7tB3nC6yD1sF5gH0"
ORIGIN = {"Origin": "https://shop.example"}


@pytest.mark.parametrize("path", ["/livez", "/v1/me", "/v1/nothing", "/openapi.json", "/docs"])
def test_every_response_has_the_security_headers(api: Api, path: str) -> None:
    headers = api.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ("script-src" in headers["content-security-policy"]) == (path == "/docs")
    assert "strict-transport-security" not in headers


def test_cors_is_refused_by_default(api: Api) -> None:
    asked = {**ORIGIN, "Access-Control-Request-Method": "GET"}
    answer = api.client.options("/v1/me", headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in api.client.get("/livez", headers=ORIGIN).headers


def client_with(api: Api, **changes: object) -> TestClient:
    services = api.services
    settings = services.settings.model_copy(update=changes)
    return TestClient(build_app(type(services)(**{**vars(services), "settings": settings})))


def test_cors_is_allowed_for_configured_origins_only(api: Api) -> None:
    client = client_with(api, cors_origins=("https://shop.example",))
    answer = client.get("/livez", headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in answer.headers
    other = client.get("/livez", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_production_sends_strict_transport_security(api: Api) -> None:
    answer = client_with(api, production=True).get("/livez")
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


def gateway(**changes: Any) -> GatewaySettings:
    return GatewaySettings.model_validate({"secret_key": STRONG, "production": True, **changes})


DATABASE = DatabaseSettings(url=SecretStr(f"postgresql+psycopg://rayon:{STRONG[:20]}@db/rayon"))
BROKER = BrokerSettings(url=SecretStr(f"redis://:{quote(STRONG[:22])}@redis:6379/0"))


def test_good_secrets_are_taken() -> None:
    assert complaints(gateway(), DATABASE, BROKER) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((gateway(secret_key="x" * 40), DATABASE, BROKER), "RAYON_GATEWAY_SECRET_KEY is weak"),
        (
            (gateway(secret_key="changeme-changeme-changeme-changeme"), DATABASE, BROKER),
            "RAYON_GATEWAY_SECRET_KEY is weak",
        ),
        ((gateway(secret_is_generated=True), DATABASE, BROKER), "was generated"),
        (
            (gateway(), DatabaseSettings(url=SecretStr("postgresql+psycopg://u@db/r")), BROKER),
            "RAYON_DATABASE_URL is missing",
        ),
        (
            (gateway(), DatabaseSettings(url=SecretStr("postgresql://u:rayon@db/r")), BROKER),
            "RAYON_DATABASE_URL is weak",
        ),
        ((gateway(), DatabaseSettings(url=SecretStr("sqlite:///x")), BROKER), "Received: SQLite"),
        (
            (gateway(), DATABASE, BrokerSettings(url=SecretStr("redis://redis:6379/0"))),
            "RAYON_BROKER_URL is missing",
        ),
    ],
)
def test_bad_secrets_are_refused_and_never_shown(settings: Any, named: str) -> None:
    [complaint] = complaints(*settings)
    assert named in complaint
    assert "changeme" not in complaint


@pytest.mark.parametrize("secret", ["password123456789012345678901234", "a" * 64, "qwertyuiop" * 4])
def test_long_secret_can_be_weak(secret: str) -> None:
    assert is_weak(secret)
    assert not is_weak(STRONG)


def test_secret_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text(STRONG + "\n")
    monkeypatch.delenv("RAYON_GATEWAY_SECRET_KEY", raising=False)
    monkeypatch.setenv("RAYON_GATEWAY_SECRET_KEY_FILE", str(path))
    settings = GatewaySettings()  # type: ignore[call-arg]
    assert settings.secret_key.get_secret_value() == STRONG
    assert STRONG not in repr(settings)


def test_environment_variable_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text("f" * 40)
    monkeypatch.setenv("RAYON_GATEWAY_SECRET_KEY_FILE", str(path))
    monkeypatch.setenv("RAYON_GATEWAY_SECRET_KEY", STRONG)
    settings = GatewaySettings()  # type: ignore[call-arg]
    assert settings.secret_key.get_secret_value() == STRONG


def test_error_names_the_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYON_DATABASE_URL_FILE", "/nowhere/url")
    with pytest.raises(
        InvalidSettings, match="RAYON_DATABASE_URL_FILE: /nowhere/url cannot be read"
    ):
        DatabaseSettings()
