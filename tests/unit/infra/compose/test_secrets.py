"""The secrets of a new installation."""

import os
import re
from pathlib import Path

import pytest

from gateway.identity.secret_strength import complaints
from gateway.settings import GatewaySettings
from infra.compose.secrets import ROLES, complete, main, share
from infra.embedded.settings import PROJECT
from shared.settings import BrokerSettings, DatabaseSettings


def test_secrets_are_generated_once_and_kept(tmp_path: Path) -> None:
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


def test_address_of_an_earlier_version_gets_the_role_of_the_registry(tmp_path: Path) -> None:
    complete(tmp_path)
    password = (tmp_path / "database_password").read_text()
    address = tmp_path / "mlflow_database_url"
    address.unlink()
    address.write_text(
        f"postgresql+psycopg://rayon:{password}@postgres/mlflow?client_encoding=utf8"
    )
    assert complete(tmp_path) == ["mlflow_database_url"]
    assert "//mlflow:" in address.read_text()


def test_own_address_of_the_registry_stays(tmp_path: Path) -> None:
    (tmp_path / "mlflow_database_url").write_text("postgresql+psycopg://me@elsewhere/mlflow")
    complete(tmp_path)
    assert (tmp_path / "mlflow_database_url").read_text().endswith("me@elsewhere/mlflow")


def test_missing_folder_argument_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["secrets"])
    assert main() == 2
    assert "Expected a folder" in capsys.readouterr().err


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """Return the folder of the roles' volumes."""
    for role in ROLES:
        (tmp_path / "roles" / role).mkdir(parents=True)
    return tmp_path / "roles"


def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roles: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setattr("sys.argv", ["secrets", str(folder), str(roles)])
    return folder


def test_each_role_has_its_own_secrets_and_no_others(
    tmp_path: Path, roles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = given(monkeypatch, tmp_path, roles)
    assert main() == 0
    assert {one.name for one in (roles / "worker").iterdir()} == {
        "broker_url",
        "registry_token",
        "s3_credentials",
    }
    assert {one.name for one in (roles / "grafana").iterdir()} == {"grafana_password"}
    for one in roles.glob("*/*"):
        assert one.read_text() == (folder / one.name).read_text()
        assert one.stat().st_mode & 0o777 == 0o444


def test_changed_secret_is_copied_to_the_roles_again(
    tmp_path: Path, roles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = given(monkeypatch, tmp_path, roles)
    main()
    (folder / "secret_key").unlink()
    (folder / "ops_webhook").write_text("https://chat.example.org/1")
    main()
    assert (roles / "gateway" / "secret_key").read_text() == (folder / "secret_key").read_text()
    assert (roles / "alertmanager" / "ops_webhook").exists()
    (folder / "ops_webhook").unlink()
    share(folder, roles)
    assert not (roles / "alertmanager" / "ops_webhook").exists()


def test_incomplete_read_only_folder_is_refused_with_the_missing_secrets(
    tmp_path: Path,
    roles: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = given(monkeypatch, tmp_path, roles)
    complete(folder)
    (folder / "secret_key").unlink()

    def refuse(path: Path, _: bytes) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert main() == 1
    told = capsys.readouterr().err
    assert "secret_key: Permission denied" in told
    assert f"It lacks secret_key. Mend it with: sudo chown -R {os.geteuid()} FOLDER" in told
    assert len(told.splitlines()) == 1


def test_each_role_has_a_folder_that_its_writer_owns() -> None:
    # A volume takes over the owner of the folder in the image; without one it is root's.
    made = (PROJECT / "gateway" / "Dockerfile").read_text()
    assert {*re.findall(r"/run/roles/([a-z]+)", made)} == {*ROLES}
