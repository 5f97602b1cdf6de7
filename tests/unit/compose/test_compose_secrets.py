"""The secrets of a new installation."""

from pathlib import Path

import pytest

from gateway.production import complaints
from infra.compose.secrets import complete, main
from shared.settings import BrokerSettings, DatabaseSettings, GatewaySettings


def test_secrets_are_made_once_and_stay(tmp_path: Path) -> None:
    made = complete(tmp_path)
    first = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(made) == first.keys() >= {"database_password", "alertmanager_key", "s3_credentials"}
    assert complete(tmp_path) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == first


def test_own_password_is_in_the_address(tmp_path: Path) -> None:
    (tmp_path / "database_password").write_text("chosen")
    complete(tmp_path)
    assert "rayon:chosen@postgres" in (tmp_path / "database_url").read_text()


def test_every_secret_is_good_enough_for_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(tmp_path)
    for variable, name in (
        ("RAYON_GATEWAY_SECRET_KEY_FILE", "secret_key"),
        ("RAYON_DATABASE_URL_FILE", "database_url"),
        ("RAYON_BROKER_URL_FILE", "broker_url"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    settings = GatewaySettings()  # type: ignore[call-arg]  # from the environment
    assert complaints(settings, DatabaseSettings(), BrokerSettings()) == []


def test_a_folder_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["secrets"])
    assert main() == 2
    assert "Expected one folder" in capsys.readouterr().err
