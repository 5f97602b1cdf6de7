"""Secrets are made once and readable by their owner only."""

import stat
from pathlib import Path

from infra.embedded.credentials import kept_secret, write_private


def test_secret_is_generated_once_and_kept(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "secrets", "key")
    assert len(first) >= 32
    assert kept_secret(tmp_path / "secrets", "key") == first
    assert kept_secret(tmp_path / "secrets", "other") != first


def test_private_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    for text in ("one", "two"):
        write_private(path, text)
        assert path.read_text() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["key"]
