"""Images of a dataset: found by what rows call them, in archives of every system."""

import io
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import inflate64
import pytest
import zstandard
from PIL import Image

from shared.errors import InvalidInput
from trainer.datasets.images import FolderImages, ZipImages, is_readable, read_image


def image(colour: str = "red") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(content, "PNG")
    return content.getvalue()


def archive_of(folder: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> ZipImages:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return ZipImages(folder / "images.zip")


@pytest.mark.parametrize(
    ("stored", "called"),
    [
        (unicodedata.normalize("NFD", "photos/été.jpg"), unicodedata.normalize("NFC", "été.jpg")),
        ("photos/a.jpg", r"C:\photos\a.jpg"),
        ("photos/a.jpg", "https://shop.example/media/a.jpg?width=200"),
        ("a.jpg", "A.JPG"),
        ("a.jpg", "a.jpg,b.jpg"),
        ("image_7_product_8.jpg", "image_7.0_product_8.0.jpg"),
        ("a.jpeg", "a.jpg"),
    ],
)
def test_image_is_found_by_what_a_row_calls_it(tmp_path: Path, stored: str, called: str) -> None:
    found = archive_of(tmp_path, (stored, b"x"), ("other.jpg", b"y")).find(called)
    assert found is not None
    assert read_image(found.reference) == b"x"
    loose = tmp_path / "folder" / stored
    loose.parent.mkdir(parents=True)
    loose.write_bytes(b"x")
    assert FolderImages(tmp_path / "folder").find(called) is not None


def test_names_of_an_old_archive_are_found(tmp_path: Path) -> None:
    archive_of(tmp_path, ("XXX.jpg", b"x"))
    raw = (tmp_path / "images.zip").read_bytes().replace(b"XXX", "été".encode("cp850"))
    (tmp_path / "images.zip").write_bytes(raw)
    found = ZipImages(tmp_path / "images.zip").find("été.jpg")
    assert found is not None
    assert read_image(found.reference) == b"x"


def test_different_images_of_one_name_are_found_by_their_paths_only(tmp_path: Path) -> None:
    images = archive_of(tmp_path, ("1/a.jpg", b"x"), ("2/a.jpg", b"y"), ("3/b.jpg", b"z"))
    assert images.find("a.jpg") is None
    found = images.find("2/a.jpg")
    assert found is not None
    assert read_image(found.reference) == b"y"


def test_copies_of_an_image_are_one(tmp_path: Path) -> None:
    assert archive_of(tmp_path, ("1/a.jpg", b"x"), ("2/a.jpg", b"x")).find("a.jpg") is not None
    for folder in ("1", "2"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / "a.jpg").write_bytes(b"x")
    assert FolderImages(tmp_path / "images").find("a.jpg") is not None
    (tmp_path / "images" / "2" / "a.jpg").write_bytes(b"y")
    assert FolderImages(tmp_path / "images").find("a.jpg") is None


def test_litter_of_operating_systems_is_no_image(tmp_path: Path) -> None:
    litter = ("._a.jpg", "p/__MACOSX/._a.jpg", "p/.DS_Store", "Thumbs.db", "desktop.ini")
    assert [*archive_of(tmp_path, ("a.jpg", b"x"), *((one, b"y") for one in litter))] == ["a.jpg"]


def deflated64(content: bytes) -> bytes:
    deflater = inflate64.Deflater()
    return bytes(deflater.deflate(content) + deflater.flush())


def repack(folder: Path, method: int, content: bytes, packed: bytes) -> ZipImages:
    """Write an archive whose only member has a method that `zipfile` does not write."""
    archive_of(folder, ("a.png", packed))
    archive = bytearray((folder / "images.zip").read_bytes())
    entry = archive.index(b"PK\x01\x02")
    sizes = struct.pack("<LLL", zlib.crc32(content), len(packed), len(content))
    for place, header in ((8, 0), (10, entry)):
        archive[header + place : header + place + 2] = struct.pack("<H", method)
        archive[header + place + 6 : header + place + 18] = sizes
    (folder / "images.zip").write_bytes(archive)
    return ZipImages(folder / "images.zip")


@pytest.mark.parametrize(
    ("method", "pack"), [(9, deflated64), (93, zstandard.compress), (20, zstandard.compress)]
)
def test_compression_of_windows_and_seven_zip_is_read(
    tmp_path: Path, method: int, pack: Callable[[bytes], bytes]
) -> None:
    content = image()
    found = repack(tmp_path, method, content, pack(content)).find("a.png")
    assert found is not None
    assert is_readable(found.reference)
    with ThreadPoolExecutor(4) as threads:
        read = [*threads.map(read_image, [found.reference] * 40)]
    assert read == [content] * 40


@pytest.mark.parametrize(("method", "pack"), [(9, deflated64), (93, zstandard.compress)])
def test_damaged_or_unknown_compression_is_an_unreadable_image(
    tmp_path: Path, method: int, pack: Callable[[bytes], bytes]
) -> None:
    for folder, declared, packed in (
        (tmp_path / "damaged", method, pack(image())[:-9]),
        (tmp_path / "unknown", 98, b"x"),
    ):
        folder.mkdir()
        found = repack(folder, declared, image(), packed).find("a.png")
        assert found is not None
        assert not is_readable(found.reference)
        with pytest.raises(InvalidInput, match="cannot be unpacked"):
            read_image(found.reference)
