"""Compose system. Uses only the standard library, which may be all that a host has."""

import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.backup.manifest import BackupError
from infra.backup.postgres import Postgres
from infra.backup.system import RAYON_TABLES, REGISTRY_TABLES, counted, stored_in

_SECRETS = ["tar", "-C", "/run/rayon"]
_ARTIFACTS = ["tar", "-C", "/var/lib/mlflow"]
_STORED = ["python", "-m", "infra.backup.stored"]
#: Volumes that a restore replaces: those in the backup, and the queue, whose messages belong to the
#: deleted jobs. Certificates, metrics and Grafana data are not part of a backup and stay.
_REPLACED = ("secrets", "postgres", "redis", "mlflow", "objects", "storage")


class ComposeSystem:
    """Compose system, backed up while running and restored into a project without volumes."""

    name = "compose"

    def __init__(self) -> None:
        self._config: dict[str, Any] = json.loads(_compose("config", "--format", "json"))
        self._rayon = _postgres("rayon", RAYON_TABLES)
        self._registry = _postgres("mlflow", REGISTRY_TABLES)

    def save(self, folder: Path) -> dict[str, Any]:
        """Back up everything to a folder and return the row counts. Raises `BackupError`."""
        _one_off(["scheduler", *_STORED, "save-unfinished"], out=folder / "unfinished.tar")
        counts = {
            **counted("rayon", self._rayon.save(folder / "rayon.dump")),
            **counted("registry", self._registry.save(folder / "registry.dump")),
        }
        self._save_artifacts(folder / "artifacts.tar")
        _one_off(["scheduler", *_STORED, "save"], out=folder / "storage.tar")
        _one_off(["init", *_SECRETS, "-cf", "-", "."], out=folder / "secrets.tar")
        return counts

    def is_empty(self) -> bool:
        """Return True if no volume would be replaced by a restore. Raises `BackupError`."""
        return not self._volumes()

    def check(self, folder: Path) -> None:
        """Check that the secrets can be restored. Raises `BackupError`."""
        place = self._secrets_folder()
        if place is None:
            return
        with tarfile.open(folder / "secrets.tar") as archive:
            kept = {Path(one.name).name for one in archive if one.isfile()}
        there = {one.name for one in place.iterdir()} if place.is_dir() else set()
        if kept - there:
            raise BackupError(
                f"{place} is a folder of yours, which is left as it is, and lacks "
                f"{', '.join(sorted(kept - there))}: take them from {folder / 'secrets.tar'} first"
            )

    def clear(self) -> None:
        """Remove containers, and the volumes that a restore replaces. Raises `BackupError`."""
        # All profiles, since running containers would keep their volumes.
        every = ["--profile", "*"]
        _compose(*every, "rm", "--stop", "--force", "--volumes")
        _compose(*every, "down", "--remove-orphans")
        volumes = self._volumes()
        if volumes:
            _run(["docker", "volume", "rm", *volumes])

    def restore(self, folder: Path) -> None:
        """Restore everything into empty volumes. Raises `BackupError`."""
        # Secrets first: the database is created with their password.
        self._restore_secrets(folder / "secrets.tar")
        _compose("up", "--detach", "--no-build", "--wait", "postgres")
        # The database of the registry; the next start gives the restored tables to its role.
        _one_off(["roles"])
        if self._has_own_objects():
            _compose("up", "--detach", "--no-build", "objects")
            _one_off(["bucket"])
        self._rayon.restore(folder / "rayon.dump")
        self._registry.restore(folder / "registry.dump")
        self._restore_artifacts(folder / "artifacts.tar")
        for name in stored_in(folder):
            _one_off(["scheduler", *_STORED, "restore"], given=folder / name)

    def counts(self) -> dict[str, Any]:
        """Return the current row counts. Raises `BackupError`."""
        return {
            **counted("rayon", self._rayon.counts()),
            **counted("registry", self._registry.counts()),
        }

    def start_command(self) -> str:
        """Command that starts the system."""
        return "docker compose up -d --wait"

    def _restore_secrets(self, path: Path) -> None:
        place = self._secrets_folder()
        if place is not None:
            print(f"{place} is not a volume of this project and is left unchanged.")  # noqa: T201
        else:
            _one_off(["init", *_SECRETS, "-xf", "-"], given=path)

    def _save_artifacts(self, path: Path) -> None:
        bucket = self._artifacts_bucket()
        if bucket:
            _one_off([*_in(bucket), *_STORED, "save"], out=path)
        else:
            _one_off(["mlflow", *_ARTIFACTS, "-cf", "-", "artifacts"], out=path)

    def _restore_artifacts(self, path: Path) -> None:
        bucket = self._artifacts_bucket()
        if bucket:
            _one_off([*_in(bucket), *_STORED, "restore"], given=path)
        else:
            _one_off(["mlflow", *_ARTIFACTS, "-xf", "-"], given=path)

    def _artifacts_bucket(self) -> str | None:
        """Return the folder of the registry's files if it is not a volume."""
        place = str(self._config["services"]["mlflow"]["environment"]["MLFLOW_ARTIFACTS"])
        return place if "://" in place else None

    def _secrets_folder(self) -> Path | None:
        """Return the folder of the secrets if it is not a volume (`RAYON_SECRETS`)."""
        (place,) = (
            one
            for one in self._config["services"]["init"]["volumes"]
            if one["target"] == _SECRETS[-1]
        )
        return Path(place["source"]) if place["type"] == "bind" else None

    def _has_own_objects(self) -> bool:
        """Return True if files are in the object store of the profile `s3`."""
        services = self._config["services"]
        endpoint = services["scheduler"]["environment"].get("AWS_ENDPOINT_URL") or ""
        return "objects" in services or "//objects:" in endpoint

    def _volumes(self) -> list[str]:
        """Return the names of the project's volumes that a restore replaces."""
        label = f"label=com.docker.compose.project={self._config['name']}"
        columns = '{{.Label "com.docker.compose.volume"}} {{.Name}}'
        lines = _run(
            ["docker", "volume", "ls", "--filter", label, "--format", columns]
        ).splitlines()
        pairs = (line.split() for line in lines)
        return [name for volume, name in pairs if volume in _REPLACED]


def _postgres(database: str, tables: Sequence[str]) -> Postgres:
    return Postgres(
        tables,
        prefix=["docker", "compose", "exec", "-T", "postgres"],
        # Inside its container the socket requires no password.
        variables={"PGUSER": "rayon", "PGDATABASE": database},
    )


def _in(bucket: str) -> list[str]:
    return ["--env", f"RAYON_STORAGE_URL={bucket}", "scheduler"]


def _one_off(command: Sequence[str], *, given: Path | None = None, out: Path | None = None) -> None:
    """Run a command in its own container, reading from or writing to a file."""
    running = ["docker", "compose", "--progress", "quiet", "run", "--rm", "--no-deps", "-T"]
    with (
        (given or Path("/dev/null")).open("rb") as source,
        (out or Path("/dev/null")).open("wb") as sink,
    ):
        ended = subprocess.run(
            [*running, *command], stdin=source, stdout=sink, stderr=subprocess.PIPE, check=False
        )
    if ended.returncode:
        error = ended.stderr.decode(errors="replace").strip()[-600:]
        raise BackupError(f"{' '.join(command)} failed: {error}")


def _compose(*arguments: str) -> str:
    return _run(["docker", "compose", "--progress", "quiet", *arguments])


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BackupError(f"{' '.join(command)} failed: {ended.stderr.strip()[-600:]}")
    return ended.stdout
