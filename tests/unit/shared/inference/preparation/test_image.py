import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation import image
from shared.inference.preparation.image import MAX_SCANS, prepare

SIZE = 299


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


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


def test_jpeg_that_asks_for_thousands_of_passes_is_refused_before_decoding() -> None:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert prepare(content, 8).shape == (8, 8, 3)
    # The last scan again and again, as a decoder allows it
    last = content[content.rindex(b"\xff\xda") : content.rindex(b"\xff\xd9")]
    many = content[:-2] + last * MAX_SCANS + content[-2:]
    with pytest.raises(ImageUnreadable, match=r"at most 100 scans\. Received: 1\d\d"):
        prepare(many, 8)


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LARGE_PIXELS", 100)
    decoding, most, met = 0, 0, threading.Barrier(2)
    original = image._rgb

    def slowly(image: Image.Image) -> Image.Image:
        nonlocal decoding, most
        if image.width > 10:
            decoding += 1
            most = max(most, decoding)
        # Long enough for another one to come in.
        with suppress(threading.BrokenBarrierError):
            met.wait(0.5)
        decoding -= image.width > 10
        return original(image)

    monkeypatch.setattr(image, "_rgb", slowly)
    contents = [encoded(Image.new("RGB", (width, width))) for width in (20, 20, 10)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda content: prepare(content, 4), contents))
    assert [one.shape for one in found] == [(4, 4, 3)] * 3
    assert most == 1
