"""Secrets of the embedded run, generated once and readable by their owner only."""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from shared.files import atomic_write


def kept_secret(folder: Path, name: str) -> str:
    """Read a secret, generating it on the first call."""
    path = folder / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


@dataclass(frozen=True)
class Digest:
    """Persistent marker of a completed action; stores only a hash."""

    path: Path
    digest: str

    @property
    def is_kept(self) -> bool:
        """True if the action was already completed."""
        return self.path.exists() and self.path.read_text() == self.digest

    def keep(self) -> None:
        """Record the action as completed."""
        write_private(self.path, self.digest)


def kept_digest(folder: Path, name: str, done: str) -> Digest:
    """Return the marker of an action that is done once; `done` may contain a secret."""
    return Digest(folder / name, hashlib.sha256(done.encode()).hexdigest())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_write(path, mode=0o600) as temporary:
        temporary.write_text(text)
