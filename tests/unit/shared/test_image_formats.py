import io

import pytest
from PIL import Image

from shared.image_formats import OTHER_TYPE, media_type
from tests.support.heic import HEIC


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "ICO"])
def test_formats_that_browsers_show_have_their_media_type(form: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, form)
    assert media_type(stream.getvalue()) == f"image/{'x-icon' if form == 'ICO' else form.lower()}"


@pytest.mark.parametrize("content", [b"", b"RIFF1234WAVE", b"<svg/>", b"II*\0", HEIC])
def test_other_files_are_bytes(content: bytes) -> None:
    assert media_type(content) == OTHER_TYPE
