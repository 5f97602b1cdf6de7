"""A registry of releases in a folder, which survives the process that uses it."""

import json
import shutil
from pathlib import Path

from shared.errors import NotFound, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import Release
from shared.inference.releases.registry import CHALLENGER, CHAMPION


class FolderRegistry:
    """A registry whose versions are the folders `1`, `2` … of `root`.

    While the file `root/down` exists, every call raises `Unavailable`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def champion(self) -> str | None:
        """Return the version of the champion."""
        return self._aliases().get(CHAMPION)

    @property
    def challenger(self) -> str | None:
        """Version of the challenger."""
        return self._aliases().get(CHALLENGER)

    def versions(self) -> list[Release]:
        """Return all versions, newest first."""
        self._require_up()
        folders = [path for path in self.root.iterdir() if path.name.isdecimal()]
        return [self._release(path) for path in sorted(folders, key=lambda p: -int(p.name))]

    def show(self, version_or_alias: str) -> Release:
        """Return one version. Raises `NotFound`."""
        for release in self.versions():
            if version_or_alias in (release.version, *release.aliases):
                return release
        raise NotFound(f"No release {version_or_alias!r}")

    def folder(self, version: str) -> Path:
        """Return the folder of a version. Raises `NotFound`."""
        self.show(version)
        return self.root / version

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version."""
        return ReleaseManifest.read(self.folder(version))

    def register(
        self,
        folder: Path,
        *,
        description: str,
        rejected: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Copy a release folder into the registry and return its version."""
        ReleaseManifest.read(folder)
        version = str(len(self.versions()) + 1)
        aside = self.root / f"aside-{version}"
        shutil.copytree(folder, aside)
        (aside / "registered").write_text(json.dumps([description, rejected]))
        aside.rename(self.root / version)
        return version

    def describe(self, version: str, description: str) -> None:
        """Change the description of a version."""
        path = self.root / version / "registered"
        path.write_text(json.dumps([description, json.loads(path.read_text())[1]]))

    def mark_champion(self, version: str) -> None:
        """Move the alias `champion`."""
        kept = {alias: held for alias, held in self._aliases().items() if held != version}
        self._write_aliases(kept | {CHAMPION: version})

    def mark_challenger(self, version: str) -> None:
        """Move the alias `challenger`."""
        self._write_aliases(self._aliases() | {CHALLENGER: version})

    def _release(self, folder: Path) -> Release:
        manifest = ReleaseManifest.read(folder)
        description, rejected = json.loads((folder / "registered").read_text())
        held = self._aliases().items()
        return Release(
            version=folder.name,
            aliases=tuple(alias for alias, version in held if version == folder.name),
            created_at=manifest.created_at,
            description=description,
            figures=dict(manifest.figures),
            rejected=rejected,
        )

    def _aliases(self) -> dict[str, str]:
        self._require_up()
        path = self.root / "aliases.json"
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        (self.root / "aliases.json").write_text(json.dumps(aliases))

    def _require_up(self) -> None:
        if (self.root / "down").exists():
            raise Unavailable("The model registry does not answer: it is down in this test")
