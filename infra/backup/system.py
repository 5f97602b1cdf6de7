"""Interface of systems that can be backed up, and their row counts."""

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
    """Complete Rayon system, embedded or Compose."""

    name: str

    def save(self, folder: Path) -> dict[str, Any]:
        """Back up everything to a folder and return the row counts. Raises `BackupError`."""

    def is_empty(self) -> bool:
        """Return True if a restore would overwrite nothing. Raises `BackupError`."""

    def check(self, folder: Path) -> None:
        """Check that a backup can be restored before anything is removed.

        Raises:
            BackupError: It could not.
        """

    def clear(self) -> None:
        """Remove what a restore replaces. Raises `BackupError`."""

    def restore(self, folder: Path) -> None:
        """Restore everything into an empty system. Raises `BackupError`."""

    def counts(self) -> dict[str, Any]:
        """Return the current row counts. Raises `BackupError`."""

    def start_command(self) -> str:
        """Command that starts the system."""


def counted(database: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Prefix row counts with the name of their database."""
    return {f"{database}.{table}": count for table, count in counts.items()}


def stored_in(folder: Path) -> list[str]:
    """Return the archives of stored files, oldest first; older versions have one."""
    return [name for name in ("unfinished.tar", "storage.tar") if (folder / name).exists()]
