"""The parts of the release registry that its callers use, without the registry's MLflow.

`shared.inference.releases.registry.Releases` implements all of them. Every method may raise
`Unavailable`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from shared.inference.manifest import ReleaseManifest


@dataclass(frozen=True)
class Release:
    """One version in the registry; `rejected` is the reason why it may never serve."""

    version: str
    aliases: tuple[str, ...]
    created_at: datetime
    description: str
    figures: dict[str, float]
    rejected: str | None = None


class ChampionReader(Protocol):
    """Read access to the champion."""

    def champion(self) -> str | None:
        """Return the version that serves, or `None` before the first promotion."""


class ReleaseFinder(Protocol):
    """Look-up of a release by version or alias."""

    def show(self, version_or_alias: str) -> Release:
        """Return one version. Raises `NotFound`."""


class ReleaseNames(Protocol):
    """Look-up of the version that a name refers to."""

    def version_of(self, version_or_alias: str) -> str:
        """Return the version. Raises `NotFound`."""


class ReleaseFolders(Protocol):
    """Access to the files of a release."""

    def folder(self, version: str) -> Path:
        """Return the local folder of a version. Raises `NotFound`."""


class ReleaseReader(ReleaseFolders, Protocol):
    """Access to the files of a release and their manifest."""

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version. Raises `NotFound`."""


class ServedReleases(ChampionReader, ReleaseReader, Protocol):
    """The champion, and the content of every release."""


class ChampionWriter(ChampionReader, ReleaseFinder, Protocol):
    """Promotion of a release."""

    def mark_champion(self, version: str) -> None:
        """Move the alias `champion` to a version. Raises `NotFound`."""


class Registry(ChampionWriter, ReleaseFolders, Protocol):
    """Registration and promotion of releases."""

    def versions(self) -> list[Release]:
        """Return all versions, newest first."""

    def register(
        self,
        folder: Path,
        *,
        description: str,
        rejected: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Register a release folder; return the version."""

    def mark_challenger(self, version: str) -> None:
        """Move the alias `challenger` to a version that waits for a decision."""
