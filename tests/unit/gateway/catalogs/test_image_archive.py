"""Untrusted image archives."""

import contextlib
import errno
import io
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import inflate64
import pytest
import zstandard

from gateway.catalogs import image_archive as module
from gateway.catalogs.image_archive import Archive, Refused
from shared.errors import ImageUnreadable, InvalidInput
from shared.image_formats import SUFFIXES

LIMIT = 100_000


def zipped(
    *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as made:
        warnings.simplefilter("ignore")
        for name, content in entries:
            made.writestr(name, content)
    return file.getvalue()


def opened(content: bytes) -> Archive:
    return Archive(io.BytesIO(content), max_image_bytes=LIMIT)


def found(archive: Archive, name: str) -> bytes:
    entry = archive.find(name)
    assert isinstance(entry, zipfile.ZipInfo), entry
    return archive.read(entry)


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> bytes:
    content = bytearray(zipped(("a.jpg", b"x")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize("name", ["b.jpg", "B.JPG", "a/b.jpg", "./a/b.jpg", "a\\b.jpg"])
def test_image_is_found_by_path_or_file_name(name: str) -> None:
    assert found(opened(zipped(("A/b.jpg", b"image"))), name) == b"image"


def test_names_with_backslashes_are_paths() -> None:
    assert found(opened(zipped(("a\\b.jpg", b"image"))), "b.jpg") == b"image"


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_image_of_every_format_is_found(suffix: str) -> None:
    name = f"a{suffix.upper()}"
    assert found(opened(zipped((name, b"image"))), name) == b"image"


def test_missing_image_is_none() -> None:
    assert opened(zipped(("a.jpg", b"x"))).find("b.jpg") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped(("../../a.jpg", b"x")), "inside the archive"),
        (zipped(("/etc/a.jpg", b"x")), "inside the archive"),
        (zipped(("a.jpg", b"")), "an empty file"),
        (zipped((link(), b"/etc/passwd")), "a link"),
        (encrypted(), "encrypted"),
        (zipped(("a.jpg", bytes(200_000_000))), "at most 100000 bytes. Received: 200000000"),
    ],
    ids=["climbs", "absolute", "empty", "link", "encrypted", "200 MB"],
)
def test_unsafe_entry_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    archive = opened(content)
    refused = archive.find("a.jpg")
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert [entry.reason for entry in archive.refused()] == [refused.reason]
    assert list(archive.unused()) == []


def test_entry_with_a_high_compression_ratio_is_refused() -> None:
    content = zipped(("a.jpg", bytes(5_000_000)))
    refused = Archive(io.BytesIO(content), max_image_bytes=10_000_000).find("a.jpg")
    assert isinstance(refused, Refused)
    assert "unpack to 5000000" in refused.reason


def test_nested_archive_is_refused() -> None:
    archive = opened(zipped(("inner.zip", zipped(("a.jpg", b"x")))))
    assert archive.find("a.jpg") is None
    assert [entry.name for entry in archive.refused()] == ["inner.zip"]


def test_same_name_and_content_is_one_image() -> None:
    assert found(opened(zipped(("x/a.jpg", b"p"), ("y/a.jpg", b"p"))), "a.jpg") == b"p"


def test_shared_name_with_other_content_needs_the_path() -> None:
    archive = opened(zipped(("x/a.jpg", b"one"), ("y/a.jpg", b"other")))
    assert isinstance(archive.find("a.jpg"), Refused)
    assert (found(archive, "x/a.jpg"), found(archive, "y/a.jpg")) == (b"one", b"other")


def test_same_path_with_other_content_is_refused() -> None:
    assert isinstance(opened(zipped(("a.jpg", b"1"), ("a.jpg", b"22"))).find("a.jpg"), Refused)


def test_system_files_are_ignored_and_unused_images_listed() -> None:
    names = ("__MACOSX/._a.jpg", ".DS_Store", "photos/", "a.jpg", "b.jpg", "photos/Thumbs.db")
    archive = opened(zipped(*((name, b"x") for name in names)))
    archive.find("a.jpg")
    assert list(archive.unused()) == ["b.jpg"]
    assert archive.refused() == []


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("at", [0, 4, 9])
def test_corrupt_entry_is_unreadable(method: int, at: int) -> None:
    content = bytearray(zipped(("a.jpg", bytes(range(256)) * 40), method=method))
    start = content.index(b"a.jpg") + len("a.jpg")
    content[start + at : start + at + 8] = b"\xff" * 8
    with pytest.raises(ImageUnreadable):
        found(opened(bytes(content)), "a.jpg")


@pytest.mark.parametrize("place", [10_000, 2**32 - 2])
def test_entry_with_a_wrong_offset_is_unreadable(tmp_path: Path, place: int) -> None:
    content = bytearray(zipped(("a.jpg", b"x")))
    at = content.index(b"PK\x01\x02") + 42
    content[at : at + 4] = struct.pack("<I", place)
    assert_unreadable(tmp_path, bytes(content))


def test_entry_before_the_beginning_of_the_file_is_unreadable(tmp_path: Path) -> None:
    content = bytearray(zipped(("a.jpg", b"x")))
    # The declared start of the list is too high, so each entry is sought too early.
    at = content.index(b"PK\x05\x06") + 16
    content[at : at + 4] = struct.pack("<I", 10_000)
    assert_unreadable(tmp_path, bytes(content))


def assert_unreadable(tmp_path: Path, content: bytes) -> None:
    """Read from a real file, which raises other errors than bytes in memory."""
    path = tmp_path / "images.zip"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ImageUnreadable):
        found(Archive(file, max_image_bytes=LIMIT), "a.jpg")


def test_disk_failure_is_not_reported_as_a_corrupt_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    archive = opened(zipped(("a.jpg", b"x")))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", broken)
    with pytest.raises(OSError, match="Input/output error"):
        found(archive, "a.jpg")


def test_entry_larger_than_declared_is_unreadable() -> None:
    content = bytearray(zipped(("a.jpg", bytes(300_000))))
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 90_000)
    with pytest.raises(ImageUnreadable):
        found(opened(bytes(content)), "a.jpg")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no archive", id="text"),
        pytest.param(zipped(("a.jpg", b"x" * 99))[:-30], id="cut short"),
    ],
)
def test_file_that_is_not_an_archive_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="Expected a ZIP archive"):
        opened(content)


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        ("MAX_ENTRIES", "at most 1 files"),
        ("MAX_UNPACKED_BYTES", "at most 1 bytes"),
    ],
)
def test_bomb_is_refused_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, constant: str, expected: str
) -> None:
    monkeypatch.setattr(module, constant, 1)
    with pytest.raises(InvalidInput, match=expected):
        opened(zipped(("a.jpg", b"x"), ("b.jpg", b"x")))


def test_image_uri_cache_is_bounded_and_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = opened(zipped(*((f"{n}.jpg", b"x") for n in range(4))))
    stored: list[str] = []

    def store(entry: zipfile.ZipInfo) -> str:
        stored.append(entry.filename)
        return f"at {entry.filename}"

    def ask(*numbers: int) -> None:
        for n in numbers:
            entry = archive.find(f"{n}.jpg")
            assert isinstance(entry, zipfile.ZipInfo)
            assert archive.stored(entry, store) == f"at {n}.jpg"

    monkeypatch.setattr(module, "_CACHED_URIS", 2)
    ask(0, 1, 0, 2, 0, 1)
    assert stored == ["0.jpg", "1.jpg", "2.jpg", "1.jpg"]
    monkeypatch.setattr(module, "_CACHED_SECONDS", 0.0)
    ask(3, 3)
    assert stored[4:] == ["3.jpg", "3.jpg"]


def test_long_list_of_entries_is_refused_before_parsing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 5_000)
    content = zipped(*((f"{n}.jpg", b"") for n in range(10_000)))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="at most 5000 files"):
        opened(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(content)


def test_entry_with_a_long_name_is_refused() -> None:
    name = f"{'x' * 1_000}.jpg"
    archive = opened(zipped((name, b"x"), ("a.jpg", b"image")))
    assert [entry.reason for entry in archive.refused()] == [
        "Expected a name of at most 1000 characters"
    ]
    assert found(archive, "a.jpg") == b"image"
    assert archive.find(name) is None


def repacked(method: int, content: bytes, packed: bytes) -> bytes:
    """Return an archive whose only member has a method that `zipfile` does not write."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a.jpg", packed)
    archive = bytearray(file.getvalue())
    entry = archive.index(b"PK\x01\x02")
    sizes = struct.pack("<LLL", zlib.crc32(content), len(packed), len(content))
    for place, header in ((8, 0), (10, entry)):
        archive[header + place : header + place + 2] = struct.pack("<H", method)
        archive[header + place + 6 : header + place + 18] = sizes
    return bytes(archive)


def deflated64(content: bytes) -> bytes:
    deflater = inflate64.Deflater()
    return bytes(deflater.deflate(content) + deflater.flush())


@pytest.mark.parametrize(
    ("method", "pack"),
    [(9, deflated64), (93, zstandard.compress), (20, zstandard.compress)],
)
def test_archives_of_windows_and_seven_zip_are_read(
    method: int, pack: Callable[[bytes], bytes]
) -> None:
    content = bytes(range(256)) * 100
    archive = opened(repacked(method, content, pack(content)))
    assert found(archive, "a.jpg") == content
    damaged = bytearray(repacked(method, content, pack(content)))
    damaged[60] ^= 0xFF
    broken = opened(bytes(damaged))
    with pytest.raises(ImageUnreadable):
        found(broken, "a.jpg")


@pytest.mark.parametrize(("method", "pack"), [(9, deflated64), (93, zstandard.compress)])
def test_entry_that_unpacks_to_more_than_declared_is_unreadable(
    method: int, pack: Callable[[bytes], bytes]
) -> None:
    archive = opened(repacked(method, b"x" * 1_000, pack(b"x" * 10_000_000)))
    with pytest.raises(ImageUnreadable):
        found(archive, "a.jpg")


def test_unknown_compression_is_refused_when_the_archive_is_checked() -> None:
    archive = opened(repacked(98, b"x", b"x"))
    [refused] = archive.refused()
    assert "Deflate64, Zstandard. Received: 98" in refused.reason


def test_litter_of_a_mac_is_no_unused_image() -> None:
    archive = opened(
        zipped(
            ("a.jpg", b"x"), ("._a.jpg", b"y"), ("p/__MACOSX/a.jpg", b"y"), ("p/.DS_Store", b"y")
        )
    )
    assert found(archive, "a.jpg") == b"x"
    assert list(archive.unused()) == []
    assert archive.refused() == []


def test_member_without_a_name_is_ignored() -> None:
    content = zipped(("x", b"x"), ("a.jpg", b"image"))
    entry = content.index(b"PK\x01\x02")
    archive = bytearray(content)
    # The name is counted as a part of the extra field.
    archive[entry + 28 : entry + 32] = struct.pack("<HH", 0, 1)
    with contextlib.suppress(InvalidInput):
        assert found(opened(bytes(archive)), "a.jpg") == b"image"
