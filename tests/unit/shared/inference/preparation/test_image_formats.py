"""Every image that Pillow can write is used, or refused with the formats that are."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.errors import ImageUnreadable
from shared.image_formats import NAMES, SUFFIXES, SUFFIXES_BY_FORMAT
from shared.inference.preparation.image import FORMATS, decode
from tests.support.heic import HEIC

SIZE = 8
MODES = [
    *(
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBX",
        "RGBa",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
    ),
    *("I", "F", "I;16", "I;16B", "I;16L", "I;16N"),
]
Image.init()
#: Pillow draws EPS and PDF by other programs, and writes stubs of the other three.
WRITTEN = sorted(Image.SAVE.keys() - {"EPS", "PDF", "BUFR", "GRIB", "HDF5", "WMF"})

shades = st.integers(0, 255)
sides = st.integers(1, 40)
exif_values = st.one_of(
    st.integers(-(2**31), 2**32 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=9)
)
exif_blocks = st.one_of(
    st.none(),
    st.binary(max_size=60).map(lambda rest: b"Exif\0\0" + rest),
    st.binary(max_size=60).map(lambda rest: b"Exif\0\0II*\0\x08\0\0\0" + rest),
    st.dictionaries(st.integers(0, 0xFFFF), exif_values, max_size=4),
)


def grey(mode: str, width: int, height: int, shade: int) -> Image.Image:
    image = Image.new("L", (width, height), shade)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if mode in ("I;16", "I;16B", "I;16L", "I;16N"):
            order = ">u2" if mode == "I;16B" else "<u2"
            return Image.frombytes(
                mode, image.size, np.full((height, width), shade * 257, order).tobytes()
            )
        if mode == "LAB":
            return Image.merge("LAB", (image, *[Image.new("L", image.size, 128)] * 2))
        if mode in ("RGBa", "La"):
            return image.convert(f"{mode[:-1]}A").convert(mode)
        if mode == "F":
            return image.convert("F")
        if mode == "HSV":
            return image.convert("RGB").convert("HSV")
        if mode == "PA":
            return image.convert("P").convert("PA")
        return image.convert(mode)


def saved(image: Image.Image, form: str, exif: dict[int, object] | bytes | None) -> bytes:
    """Write an image; an assumption fails where Pillow cannot."""
    stream = io.BytesIO()
    options: dict[str, object] = {}
    if isinstance(exif, dict):
        tags = Image.Exif()
        tags.update(exif)
        options["exif"] = tags
    elif exif is not None:
        options["exif"] = exif
    try:
        image.save(stream, form, **options)
    except Exception:
        assume(False)
    return stream.getvalue()


@settings(max_examples=400)
@given(st.sampled_from(MODES), st.sampled_from(WRITTEN), sides, sides, shades, exif_blocks)
def test_image_that_pillow_writes_is_used_or_refused_with_the_formats(
    mode: str,
    form: str,
    width: int,
    height: int,
    shade: int,
    exif: dict[int, object] | bytes | None,
) -> None:
    if mode == "1":
        shade = 255 * (shade > 127)
    if mode == "F":
        # An image of ones is white: its range is 0 to 1.
        shade = max(shade, 2)
    content = saved(grey(mode, width, height, shade), form, exif)
    if form not in {*FORMATS, "MPO"}:
        with pytest.raises(ImageUnreadable, match="Expected an image") as refused:
            decode(content, SIZE)
        assert NAMES in refused.value.detail
        return
    pixels = np.frombuffer(decode(content, SIZE), np.uint8).astype(int)
    if "16" in mode and form not in ("PNG", "TIFF"):
        # Pillow has cut the values off when it wrote them.
        return
    assert np.abs(pixels - shade).max() <= 12


def test_heic_is_used_upright() -> None:
    pixels = np.frombuffer(decode(HEIC, 32), np.uint8).reshape(32, 32, 3)
    assert pixels[:14].min() > 200
    assert pixels[-14:].max() < 50


def test_heic_that_is_cut_off_is_refused() -> None:
    for length in range(0, len(HEIC), 7):
        with pytest.raises(ImageUnreadable):
            decode(HEIC[:length], SIZE)


def test_formats_have_suffixes_of_their_own() -> None:
    assert len(SUFFIXES) == sum(map(len, SUFFIXES_BY_FORMAT.values()))
    assert all(name in Image.OPEN for name in FORMATS)
