"""What a system must be able to do to be saved and restored, and what of it is counted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

RAYON_TABLES = (
    "users",
    "api_keys",
    "jobs",
    "scores",
    "catalogs",
    "promotions",
    "dataset_versions",
    "training_runs",
    "reviews",
    "drift_alerts",
    "reports",
    "audit_log",
)
REGISTRY_TABLES = ("registered_models", "model_versions", "registered_model_aliases")


class System(Protocol):
    """A whole Rayon: the embedded one, or that of Compose."""

    name: str

    def save(self, folder: Path) -> dict[str, Any]:
        """Write everything into a folder; returns the counts. Raises `BackupError`."""

    def is_empty(self) -> bool:
        """Whether there is nothing that a restore would lose. Raises `BackupError`."""

    def check(self, folder: Path) -> None:
        """See that a backup could be restored here, before anything is removed.

        Raises:
            BackupError: It could not.
        """

    def clear(self) -> None:
        """Remove what a restore replaces. Raises `BackupError`."""

    def restore(self, folder: Path) -> None:
        """Put everything into an empty system. Raises `BackupError`."""

    def counts(self) -> dict[str, Any]:
        """Count the rows now. Raises `BackupError`."""

    def start_command(self) -> str:
        """How it is started."""


def counted(database: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts under the name of their database."""
    return {f"{database}.{table}": count for table, count in counts.items()}


def stored_in(folder: Path) -> list[str]:
    """A backup's archives of stored files, the older first; backups of old versions have one."""
    return [name for name in ("unfinished.tar", "storage.tar") if (folder / name).exists()]
