"""Untrusted archives are rejected before they take memory."""

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from shared import archives
from shared.archives import open_archive
from shared.errors import InvalidInput


def packed(members: int, comment: bytes = b"") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.comment = comment
        for number in range(members):
            archive.writestr(f"{number}.png", b"content")
    return content.getvalue()


def declare_one_member(archive: bytes) -> bytes:
    """Return the archive with an end record that declares one member."""
    end = archive.rindex(b"PK\x05\x06")
    return archive[: end + 8] + struct.pack("<HH", 1, 1) + archive[end + 12 :]


def never(*_args: Any, **_options: Any) -> Any:
    raise AssertionError("A member was listed")


def test_members_are_read() -> None:
    with open_archive(io.BytesIO(packed(3, b"a comment")), 3) as archive:
        assert archive.namelist() == ["0.png", "1.png", "2.png"]
        assert archive.read("1.png") == b"content"


@pytest.mark.parametrize(
    "change", [bytes, declare_one_member, lambda archive: b"before it" + archive]
)
def test_too_many_members_are_rejected_before_they_are_listed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    content = change(packed(4))
    monkeypatch.setattr(zipfile, "ZipInfo", never)
    with pytest.raises(InvalidInput, match=r"at most 3 files in images\.zip\. Received: more"):
        open_archive(io.BytesIO(content), 3, "images.zip")


def test_zip64_members_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed(66_000)
    assert b"PK\x06\x06" in content
    assert len(open_archive(io.BytesIO(content), 66_000).namelist()) == 66_000
    monkeypatch.setattr(zipfile, "ZipInfo", never)
    with pytest.raises(InvalidInput, match="at most 65999 files"):
        open_archive(io.BytesIO(content), 65_999)


def test_oversized_central_directory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_LIST_BYTES", 100)
    with pytest.raises(InvalidInput, match="a file list of at most 100 bytes"):
        open_archive(io.BytesIO(packed(3)), 3)


def test_member_may_exceed_the_limit_of_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        # The content begins with the signature of a directory entry.
        archive.writestr("a.png", packed(3)[packed(3).index(b"PK\x01\x02") :] + b"x" * 100_000)
    monkeypatch.setattr(archives, "MAX_LIST_BYTES", 100)
    with open_archive(content, 1) as archive:
        assert len(archive.read("a.png")) > 100_000


@pytest.mark.parametrize("content", [b"", b"PK no archive", packed(2)[:-30]])
def test_file_that_is_no_archive_is_rejected(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="Expected a ZIP archive as the archive"):
        open_archive(io.BytesIO(content), 3)


def test_file_stays_open_after_the_archive_is_closed() -> None:
    file = io.BytesIO(packed(1))
    open_archive(file, 1).close()
    assert not file.closed
