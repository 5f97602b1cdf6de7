"""Fakes of the message queue and the model registry, with the signatures of the originals."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from shared.broker import FINAL, Heartbeat, QueueDepth, Worker
from shared.contracts import Message
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import Release
from shared.inference.releases.registry import CHALLENGER, CHAMPION
from tests.support.factories import make_manifest
from tests.support.transactions import require_no_write_transaction


class FakeBroker:
    """A message queue in memory.

    It keeps published messages. A test sets the queue heads, running messages and workers.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.announced: list[str] = []
        #: Announced answers as JSON, by job.
        self.answers: dict[str, str] = {}
        self.unfed: list[str] = []
        self.heads: dict[str, float] = {}
        self.running: dict[str, int] = {}
        self.present: list[Worker] = []
        self.beats: list[Heartbeat] = []
        self.is_down = False
        #: Messages that it still takes, as a Redis that becomes full does; `None` takes all.
        self.room: int | None = None

    def publish(self, message: Message) -> None:
        """Keep a message."""
        self._require_up()
        if self.room is not None and len(self.messages) >= self.room:
            raise Unavailable("The message queue does not answer: it is full in this test")
        self.messages.append(message)

    def announce(self, changed: Mapping[str, str | None], channel: str = FINAL) -> None:
        """Keep the IDs of changed rows, and the answers."""
        (self.announced if channel == FINAL else self.unfed).extend(changed)
        self.answers.update({one: answer for one, answer in changed.items() if answer is not None})

    def trouble(self) -> str | None:
        """Return a reason while the queue is down."""
        return "does not answer" if self.is_down else None

    def depth(self, queue: str) -> QueueDepth:
        """Return the depth of a queue: one waiting message if it has a head, else none."""
        return self.depths([queue])[queue]

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """Return the depth of each queue, as `depth` does."""
        self._require_up()
        heads = {queue: self.heads.get(queue) for queue in queues}
        return {
            queue: QueueDepth(queue, int(head is not None), self.running.get(queue, 0), head)
            for queue, head in heads.items()
        }

    def memory_ratio(self) -> float:
        """Return a tenth, as if a tenth of the memory were used."""
        self._require_up()
        return 0.1

    def workers(self) -> list[Worker]:
        """Return the workers that the test set."""
        self._require_up()
        return self.present

    def heartbeats(self) -> list[Heartbeat]:
        """Return the heartbeats that the test set."""
        self._require_up()
        return self.beats

    def _require_up(self) -> None:
        require_no_write_transaction("message queue")
        if self.is_down:
            raise Unavailable("The message queue does not answer: it is down in this test")


class FakeReleases:
    """A registry in memory with two versions, of which the first is the champion."""

    def __init__(self) -> None:
        self.manifests = {version: make_manifest(f"release-{version}") for version in ("1", "2")}
        self.marked: str | None = "1"
        self.challenger: str | None = None
        self.rejected: dict[str, str] = {}
        self.is_down = False

    def champion(self) -> str | None:
        """Return the version of the champion."""
        self._require_up()
        return self.marked

    def versions(self) -> list[Release]:
        """Return all versions, newest first."""
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
        """Return one version. Raises `NotFound`."""
        for release in self.versions():
            if version_or_alias in (release.version, *release.aliases):
                return release
        raise NotFound(f"No release {version_or_alias!r}")

    def page(self, limit: int, cursor: str | None) -> tuple[list[Release], str | None]:
        """Return a page of versions, newest first, and the cursor of the next page."""
        if cursor is not None and not cursor.isdecimal():
            raise InvalidInput(f"Expected a cursor. Received: {cursor!r}", field=("cursor",))
        first = int(cursor or 0)
        found = self.versions()
        until = first + limit
        return found[first:until], str(until) if until < len(found) else None

    def version_of(self, version_or_alias: str) -> str:
        """Return the version of a name. Raises `NotFound`."""
        return self.show(version_or_alias).version

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest of a version. Raises `NotFound`."""
        self._require_up()
        if version not in self.manifests:
            raise NotFound(f"No release {version!r}")
        return self.manifests[version]

    def folder(self, version: str) -> Path:
        """Raise `NotFound`: this registry has no files."""
        raise NotFound(f"Release {version!r} has no files in this test")

    def mark_champion(self, version: str) -> None:
        """Move the alias `champion`."""
        self._require_up()
        self.marked = version
        if self.challenger == version:
            self.challenger = None

    def mark_challenger(self, version: str) -> None:
        """Move the alias `challenger`."""
        self._require_up()
        self.challenger = version

    def _aliases(self, version: str) -> tuple[str, ...]:
        held = ((CHALLENGER, self.challenger), (CHAMPION, self.marked))
        return tuple(alias for alias, holder in held if holder == version)

    def _require_up(self) -> None:
        require_no_write_transaction("model registry")
        if self.is_down:
            raise Unavailable("The model registry does not answer: it is down in this test")


class FolderReleases(FakeReleases):
    """A registry in memory whose versions may have folders in `root`."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        #: Versions whose folder was requested, in order.
        self.requested: list[str] = []

    def manifest(self, version: str) -> ReleaseManifest:
        """Return the manifest in the folder of a version, or a default. Raises `NotFound`."""
        default = super().manifest(version)
        folder = self.root / version
        return ReleaseManifest.read(folder) if folder.exists() else default

    def folder(self, version: str) -> Path:
        """Return the folder of a version. Raises `NotFound`."""
        self.requested.append(version)
        self.manifest(version)
        return self.root / version
