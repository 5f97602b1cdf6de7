"""Atomic replacement of files."""

import os
from pathlib import Path

import numpy as np
import pytest

from shared.files import atomic_write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, mode: int | None) -> None:
    with atomic_write(path, mode=mode) as temporary:
        temporary.write_bytes(b"ne")
        raise OSError("disk full")


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "scores.bin"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == tmp_path
    assert (names(tmp_path), path.read_bytes()) == (["scores.bin"], b"new")


def test_former_file_stays_readable_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "scores.bin"
    path.write_bytes(b"former")
    with atomic_write(path, is_durable=True) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"former"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("mode", [None, 0o600])
def test_failed_block_leaves_only_the_former_file(tmp_path: Path, mode: int | None) -> None:
    path = tmp_path / "scores.bin"
    path.write_bytes(b"former")
    with pytest.raises(OSError, match="disk full"):
        write_half(path, mode)
    assert (names(tmp_path), path.read_bytes()) == (["scores.bin"], b"former")


def test_temporary_file_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".scores.bin").write_bytes(b"partial")
    (tmp_path / ".scores.bin").chmod(0o444)
    with atomic_write(tmp_path / "scores.bin", mode=0o600) as temporary:
        temporary.write_bytes(b"new")
    assert names(tmp_path) == ["scores.bin"]


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o644])
def test_file_is_private_until_complete_and_then_has_its_mode(tmp_path: Path, mode: int) -> None:
    former = os.umask(0)
    try:
        with atomic_write(tmp_path / "secret", mode=mode) as temporary:
            assert temporary.stat().st_mode & 0o777 == 0o600
            temporary.write_text("word")
            assert temporary.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "secret").stat().st_mode & 0o777 == mode
    finally:
        os.umask(former)


def test_read_only_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content in ("one", "two"):
        with atomic_write(path, mode=0o444) as temporary:
            temporary.write_text(content)
    assert path.read_text() == "two"


def test_suffix_is_kept_for_writers_that_append_one(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "answers.npy") as temporary:
        np.save(temporary, np.arange(3))
    assert names(tmp_path) == ["answers.npy"]
