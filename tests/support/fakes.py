"""Fakes with the signatures of what they stand for; no mocks."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from shared.broker import QueueDepth, Worker
from shared.contracts import Message
from shared.errors import NotFound, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import Release
from shared.inference.releases.registry import CHALLENGER, CHAMPION
from tests.support.factories import make_manifest


class FakeBroker:
    """A message queue in memory: keeps what is published; a test says what waits and who works."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.heads: dict[str, float] = {}
        self.running: dict[str, int] = {}
        self.present: list[Worker] = []
        self.is_down = False

    def publish(self, message: Message) -> None:
        """Keep one message."""
        self._require_up()
        self.messages.append(message)

    def is_alive(self) -> bool:
        """True while the queue answers."""
        return not self.is_down

    def depth(self, queue: str) -> QueueDepth:
        """One message waits where there is a head, none where not."""
        return self.depths([queue])[queue]

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """The same of many queues."""
        self._require_up()
        heads = {queue: self.heads.get(queue) for queue in queues}
        return {
            queue: QueueDepth(queue, int(head is not None), self.running.get(queue, 0), head)
            for queue, head in heads.items()
        }

    def memory_ratio(self) -> float:
        """A tenth of the memory is used."""
        self._require_up()
        return 0.1

    def workers(self) -> list[Worker]:
        """The workers that a test put there."""
        self._require_up()
        return self.present

    def _require_up(self) -> None:
        if self.is_down:
            raise Unavailable("The message queue does not answer: it is down in this test")


class FakeReleases:
    """A registry in memory, with two versions; the first one is the champion."""

    def __init__(self) -> None:
        self.manifests = {version: make_manifest(f"release-{version}") for version in ("1", "2")}
        self.marked: str | None = "1"
        self.challenger: str | None = None
        self.rejected: dict[str, str] = {}
        self.is_down = False

    def champion(self) -> str | None:
        """Version that serves."""
        self._require_up()
        return self.marked

    def versions(self) -> list[Release]:
        """All versions, newest first."""
        self._require_up()
        return [
            Release(
                version=version,
                aliases=self._aliases(version),
                created_at=datetime(2026, 1, 1, tzinfo=UTC),
                description=manifest.name,
                figures=dict(manifest.figures),
                rejected=self.rejected.get(version),
            )
            for version, manifest in sorted(self.manifests.items(), reverse=True)
        ]

    def show(self, version_or_alias: str) -> Release:
        """One version. Raises `NotFound`."""
        for release in self.versions():
            if version_or_alias in (release.version, *release.aliases):
                return release
        raise NotFound(f"No release {version_or_alias!r}")

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version. Raises `NotFound`."""
        self._require_up()
        if version not in self.manifests:
            raise NotFound(f"No release {version!r}")
        return self.manifests[version]

    def folder(self, version: str) -> Path:
        """There are no files here. Raises `NotFound`."""
        raise NotFound(f"Release {version!r} has no files in this test")

    def mark_champion(self, version: str) -> None:
        """Move the alias."""
        self._require_up()
        self.marked = version
        if self.challenger == version:
            self.challenger = None

    def mark_challenger(self, version: str) -> None:
        """Name the version that waits."""
        self._require_up()
        self.challenger = version

    def _aliases(self, version: str) -> tuple[str, ...]:
        held = ((CHALLENGER, self.challenger), (CHAMPION, self.marked))
        return tuple(alias for alias, holder in held if holder == version)

    def _require_up(self) -> None:
        if self.is_down:
            raise Unavailable("The model registry does not answer: it is down in this test")


class FolderReleases(FakeReleases):
    """A registry in memory whose versions have folders, one below the other in `root`."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.asked: list[str] = []

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of the version's folder. Raises `NotFound`."""
        made_up = super().manifest(version)
        folder = self.root / version
        return ReleaseManifest.read(folder) if folder.exists() else made_up

    def folder(self, version: str) -> Path:
        """Folder of a version. Raises `NotFound`."""
        self.asked.append(version)
        self.manifest(version)
        return self.root / version
