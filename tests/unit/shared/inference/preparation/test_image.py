import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation import image
from shared.inference.preparation.image import Declined, decode, thumbnail
from shared.inference.preparation.jpegs import MAX_SCANS
from tests.support.expensive_images import repeated_scans

SIZE = 299


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def prepare(content: bytes, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(decode(content, size), np.uint8).reshape(size, size, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1", "RGBA", "LA", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    pixels = prepare(encoded(Image.new(mode, (40, 30)), form), SIZE)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    ("size", "expected"), [((800, 600), (96, 72)), ((300, 900), (32, 96)), ((40, 30), (40, 30))]
)
def test_thumbnail_keeps_its_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    for form in ("JPEG", "PNG"):
        small = opened(thumbnail(encoded(Image.new("RGB", size), form), 96))
        assert (small.format, small.size) == ("WEBP", expected)


def test_thumbnail_is_upright_without_metadata() -> None:
    image = Image.new("RGB", (600, 400), "black")
    image.paste("white", (0, 0, 300, 400))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    exif[0x010F] = "maker of the camera"
    small = opened(thumbnail(encoded(image, "JPEG", exif=exif), 96))
    assert small.size == (64, 96)
    assert not small.getexif()
    red = np.asarray(small)[:, :, 0]
    assert red[5, 32] > 245
    assert red[90, 32] < 10


def test_thumbnail_of_a_transparent_image_is_white() -> None:
    small = opened(thumbnail(encoded(Image.new("RGBA", (200, 100), (0, 0, 0, 0))), 96))
    assert (small.mode, small.getpixel((5, 5))) == ("RGB", (255, 255, 255))


def test_no_thumbnail_of_a_broken_image() -> None:
    for content in (b"", b"no image", encoded(Image.new("RGB", (99, 99)))[:60]):
        with pytest.raises(ImageUnreadable):
            thumbnail(content, 96)


def test_transparency_becomes_white() -> None:
    assert prepare(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 0))), SIZE).min() == 255


def test_rotation_of_the_camera_is_applied() -> None:
    image = Image.new("RGB", (600, 600), "black")
    image.paste("white", (0, 0, 600, 300))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = prepare(encoded(image, "JPEG", exif=exif), SIZE)
    assert pixels[:100].mean() < 10
    assert pixels[-100:].mean() > 245


def odd_exif(tag: int, kind: int, value: bytes) -> bytes:
    """Return EXIF data of an image to be turned, with a tag that Pillow reads but cannot write."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (tag, kind, 1, struct.pack("<I", 38))]
    rows = b"".join(struct.pack("<HHI4s", *entry) for entry in sorted(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + value


ODD_EXIF = {
    "a rational of minus one": odd_exif(0x011A, 10, struct.pack("<ii", -1, 1)),
    "an infinite decimal": odd_exif(0x011A, 12, struct.pack("<d", float("inf"))),
    "a maker that is a number": odd_exif(0x010F, 5, struct.pack("<II", 1, 3)),
    "a text that is cut off": odd_exif(0x010F, 2, b""),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("name", ODD_EXIF)
def test_orientation_is_read_beside_metadata_that_cannot_be_written(name: str, form: str) -> None:
    image = Image.new("RGB", (60, 30), "black")
    image.paste("white", (0, 0, 30, 30))
    exif: bytes | Image.Exif = ODD_EXIF[name]
    if form == "TIFF":
        # Its metadata is the file's own.
        exif = Image.Exif()
        exif[0x0112] = 6
    pixels = prepare(encoded(image, form, exif=exif), 40)
    assert pixels[:15].min() > 245
    assert pixels[-15:].max() < 10


def test_orientation_of_tiff_is_read_beside_metadata_that_cannot_be_written() -> None:
    image = Image.new("L", (60, 30), 255)
    content = encoded(image, "TIFF", tiffinfo={0x0112: 6, 0x011A: 1.5})
    place = content.index(struct.pack("<HHI", 0x011A, 5, 1))
    (at,) = struct.unpack("<I", content[place + 8 : place + 12])
    odd = content[:at] + struct.pack("<II", 0xFFFFFFFF, 1) + content[at + 8 :]
    assert prepare(odd, 8).min() == 255


def test_orientation_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> None:
        raise struct.error("unpack requires a buffer of 4 bytes")

    content = encoded(Image.new("RGB", (60, 30), "white"), "JPEG")
    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert prepare(content, 8).min() == 255


@pytest.mark.parametrize("error", [struct.error, TypeError, AttributeError, KeyError, IndexError])
def test_any_exception_of_pillow_makes_the_image_unreadable(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(_: Image.Image) -> None:
        raise error("odd")

    content = encoded(Image.new("RGB", (40, 30)), "BMP")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ImageUnreadable, match="odd"):
        decode(content, SIZE)


def test_image_may_be_declined_before_it_is_decoded() -> None:
    def decline(_: int) -> None:
        raise Declined

    with pytest.raises(Declined):
        decode(encoded(Image.new("RGB", (40, 30))), SIZE, decline)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not an image", b"%PDF-1.7 ...", b"\xff\xd8"])
def test_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        prepare(content, SIZE)


def test_empty_file_is_unreadable() -> None:
    with pytest.raises(ImageUnreadable, match=r"JPEG, PNG, .*HEIC.*\. Received: an empty file"):
        prepare(b"", SIZE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_cut_off_image_is_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), form)
    with pytest.raises(ImageUnreadable):
        prepare(content[: len(content) // 2], SIZE)


def test_pixel_bomb_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("1", (200, 200)))
    monkeypatch.setattr(image, "MAX_PIXELS", 39_999)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(ImageUnreadable, match="200 x 200"):
        prepare(content, SIZE)


@pytest.mark.parametrize("form", ["JPEG", "MPO"])
def test_jpeg_that_asks_for_thousands_of_passes_is_refused_before_decoding(form: str) -> None:
    assert decode(repeated_scans(16, 0, form), 8)
    many = repeated_scans(16, MAX_SCANS, form)
    with Image.open(io.BytesIO(many)) as image:
        assert image.format == form
    with pytest.raises(ImageUnreadable, match=r"at most 100 scans\. Received: 1\d\d"):
        decode(many, 8)


def test_number_of_pixels_is_reported_before_they_are_decoded() -> None:
    reported: list[int] = []
    content = encoded(Image.new("RGB", (40, 30)))
    decode(content, SIZE, reported.append)
    with pytest.raises(ImageUnreadable):
        decode(content[:60], SIZE, reported.append)
    assert reported == [1200, 1200]


def test_failed_allocation_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Image.Image) -> None:
        raise OSError("out of memory error when reading image file")

    content = encoded(Image.new("RGB", (40, 30)), "BMP")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(MemoryError):
        decode(content, SIZE)
