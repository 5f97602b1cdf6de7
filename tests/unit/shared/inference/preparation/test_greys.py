import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageUnreadable
from shared.inference.preparation.image import decode

SIDE = 16
#: All shades of grey, at 8 bits.
GREY = np.arange(256, dtype=np.uint8).reshape(SIDE, SIDE)


def prepared(
    values: NDArray[np.generic], form: str = "TIFF", **options: object
) -> NDArray[np.int_]:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form, **options)
    pixels = np.frombuffer(decode(stream.getvalue(), SIDE), np.uint8).reshape(SIDE, SIDE, 3)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].astype(int)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_grey(form: str) -> None:
    np.testing.assert_array_equal(prepared(GREY.astype(np.uint16) * 257, form), GREY)


def test_order_of_bytes_does_not_matter() -> None:
    stream = io.BytesIO()
    Image.frombytes("I;16B", (SIDE, SIDE), (GREY.astype(">u2") * 257).astype(">u2").tobytes()).save(
        stream, "TIFF"
    )
    assert np.frombuffer(decode(stream.getvalue(), SIDE), np.uint8)[::3].tolist() == [*range(256)]


def test_transparent_shade_becomes_white() -> None:
    pixels = prepared(GREY.astype(np.uint16) * 257, "PNG", transparency=5 * 257)
    expected = GREY.astype(int)
    expected.flat[5] = 255
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("values", "summary"),
    [
        (GREY.astype(np.int32), "whole numbers of 8 bits"),
        (GREY.astype(np.int32) * 257, "whole numbers of 16 bits"),
        (GREY.astype(np.int32) * 1_000_000, "whole numbers of 32 bits"),
        (GREY.astype(np.int32) * 1000 - 128_000, "whole numbers with a sign"),
        (GREY.astype(np.float32) / 255, "0 to 1"),
        (GREY.astype(np.float32), "0 to 255"),
        (GREY.astype(np.float32) * 257, "0 to 65535"),
        (GREY.astype(np.float32) / 128 - 1, "-1 to 1"),
    ],
)
def test_wide_numbers_keep_their_grey(values: NDArray[np.generic], summary: str) -> None:
    assert np.abs(prepared(values) - GREY).max() <= 1, summary


def test_dark_image_stays_dark() -> None:
    assert prepared(np.full((SIDE, SIDE), 0.25, np.float32)).max() == 64
    assert prepared(np.full((SIDE, SIDE), 2_000_000, np.int32)).max() == 0


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_grey_is_refused(value: float) -> None:
    with pytest.raises(ImageUnreadable, match="finite grey values"):
        prepared(np.full((SIDE, SIDE), value, np.float32))
