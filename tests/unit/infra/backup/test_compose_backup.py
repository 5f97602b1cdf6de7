"""Backups of the Compose system, with a `docker` that writes down what it is asked."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from infra.backup.compose import ComposeSystem
from infra.backup.manifest import BackupError

#: Volumes are lines `VOLUME NAME`, as `docker volume ls` is asked for.
DOCKER = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$*" in
*" psql "*) echo dumped >&2 ;;
*" config "*) cat "$CONFIG" ;;
"volume ls "*) cat "$VOLUMES" ;;
esac
"""
NAMES = ("secrets", "postgres", "redis", "mlflow", "storage", "training", "certificates", "grafana")


class Machine:
    """A machine with a Compose project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.secrets: dict[str, Any] = {"type": "volume", "source": "secrets"}
        self.endpoint: str | None = None
        self.services: dict[str, Any] = {}

    def system(self) -> ComposeSystem:
        """The project, as Compose says it is."""
        services = {
            "init": {"volumes": [{**self.secrets, "target": "/run/rayon"}]},
            "scheduler": {"environment": {"AWS_ENDPOINT_URL": self.endpoint}},
            "mlflow": {"environment": {"MLFLOW_ARTIFACTS": "/var/lib/mlflow/artifacts"}},
        }
        config = {"name": "rayon", "services": {**services, **self.services}}
        (self._folder / "config").write_text(json.dumps(config))
        return ComposeSystem()

    @property
    def calls(self) -> list[str]:
        """Return the recorded calls of docker."""
        return (self._folder / "calls").read_text().splitlines()

    def place_of(self, asked: str) -> int:
        """When something was asked."""
        return next(at for at, call in enumerate(self.calls) if asked in call)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    (tmp_path / "volumes").write_text("".join(f"{one} rayon_{one}\n" for one in NAMES))
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for name in ("calls", "config", "volumes"):
        monkeypatch.setenv(name.upper(), str(tmp_path / name))
    return Machine(tmp_path)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "backup"
    folder.mkdir()
    for name in ("rayon.dump", "registry.dump", "artifacts.tar", "storage.tar"):
        (folder / name).touch()
    with tarfile.open(folder / "secrets.tar", "w") as archive:
        for name in ("secret_key", "database_password"):
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    return folder


def test_only_volumes_in_the_backup_are_removed(machine: Machine) -> None:
    system = machine.system()
    system.clear()
    (removed,) = (call for call in machine.calls if call.startswith("volume rm"))
    assert set(removed.split()[2:]) == {
        f"rayon_{one}" for one in ("secrets", "postgres", "redis", "mlflow", "storage")
    }
    assert not [call for call in machine.calls if "down" in call and "--volumes" in call]


def test_bucket_is_created_before_files_are_restored(machine: Machine, backup: Path) -> None:
    machine.services = {"objects": {}, "bucket": {}}
    machine.system().restore(backup)
    started, made = machine.place_of("up --detach --no-build objects"), machine.place_of(" bucket")
    assert started < made < machine.place_of("stored restore")


def test_object_store_is_started_wherever_its_profile_is_set(
    machine: Machine, backup: Path
) -> None:
    machine.endpoint = "http://objects:7070"
    machine.system().restore(backup)
    assert machine.place_of("up --detach --no-build objects")


def test_system_with_a_volume_for_files_starts_no_object_store(
    machine: Machine, backup: Path
) -> None:
    machine.system().restore(backup)
    assert not [call for call in machine.calls if "objects" in call or "bucket" in call]


def test_external_folder_of_secrets_is_left_unchanged(
    machine: Machine, backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("secret_key", "database_password"):
        (own / name).write_text("mine")
    machine.secrets = {"type": "bind", "source": str(own)}
    system = machine.system()
    system.check(backup)
    system.restore(backup)
    assert not [call for call in machine.calls if "run --rm" in call and " init " in call]
    assert f"{own} is not a volume of this project" in capsys.readouterr().out


@pytest.mark.parametrize("is_there", [True, False])
def test_external_folder_without_a_secret_is_refused_before_anything_is_removed(
    machine: Machine, backup: Path, tmp_path: Path, is_there: bool
) -> None:
    own = tmp_path / "own"
    if is_there:
        own.mkdir()
        (own / "secret_key").write_text("mine")
    machine.secrets = {"type": "bind", "source": str(own)}
    with pytest.raises(BackupError, match=r"lacks database_password.*secrets\.tar"):
        machine.system().check(backup)


def test_short_lived_files_are_saved_before_the_rows_that_name_them(
    machine: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    machine.system().save(folder)
    saved = [
        one for one in machine.calls if "psql" in one or "scheduler python -m infra.backup" in one
    ]
    assert saved[0].endswith("stored save-unfinished")
    assert "psql" in saved[1]
    assert saved[-1].endswith("stored save")
    assert (folder / "unfinished.tar").exists()
