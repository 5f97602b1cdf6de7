import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation import image
from shared.inference.preparation.image import MAX_SCANS, decode
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


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not an image", b"%PDF-1.7 ...", b"\xff\xd8"])
def test_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        prepare(content, SIZE)


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
