"""Grey images of more than 8 bits a pixel, reduced to 8 bits as image viewers show them."""

import math

from PIL import Image

from shared.errors import ImageUnreadable

#: Modes of Pillow for 16 bits, in each order of bytes.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_LEVELS = 65_536
#: Scale of values by the largest one that it allows; programs write numbers in either range.
_SCALES = {"I": {255: 1.0, 65_535: 1 / 256}, "F": {1: 255.0, 255: 1.0, 65_535: 1 / 256}}
_TIFF, _PNG = (b"II*\0", b"MM\0*"), b"\x89PNG"
#: Place of the number of bits in a PNG; the kind of colour follows.
_PNG_FORM = 24


def eight_bits(image: Image.Image) -> Image.Image:
    """Reduce a grey image to 8 bits; return images of other modes unchanged.

    16 bits keep their upper 8. Whole numbers of 32 bits count as 8 or 16 bits if all of them are in
    that range, and so do decimal ones, or as 0 to 1; else the darkest one becomes black and the
    brightest one white.

    Raises:
        ImageUnreadable: A value is infinite or not a number.
    """
    if image.mode in _SIXTEEN_BITS:
        return _upper_bits(image)
    if image.mode in _SCALES:
        return _scaled(image)
    return image


def may_be_wide(content: bytes) -> bool:
    """Return True if a file may be grey of more than 8 bits: a TIFF, or a PNG of 16 bits."""
    return content.startswith(_TIFF) or (
        content.startswith(_PNG) and content[_PNG_FORM : _PNG_FORM + 2] == b"\x10\0"
    )


def _upper_bits(image: Image.Image) -> Image.Image:
    values = image.convert("I")
    grey = values.point([level >> 8 for level in range(_LEVELS)], "L")
    transparent = grey.info.pop("transparency", None)
    if transparent is None:
        return grey
    opaque = values.point([255 * (level != transparent) for level in range(_LEVELS)], "L")
    return Image.merge("LA", (grey, opaque))


def _scaled(image: Image.Image) -> Image.Image:
    low, high = image.getextrema()
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        raise TypeError("bands")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageUnreadable("Expected finite grey values. Received: infinite ones, or no numbers")
    scale, offset = _scale(image.mode, low, high)
    # Pillow cuts decimal places off.
    half = 0.5 if image.mode == "F" else 0.0
    grey = image.point(lambda value: value * scale + (offset + half)).convert("L")
    grey.info.pop("transparency", None)
    return grey


def _scale(mode: str, low: float, high: float) -> tuple[float, float]:
    """Return the factor and the summand that make 0 to 255 of values from `low` to `high`."""
    for largest, scale in _SCALES[mode].items():
        if low >= 0 and high <= largest:
            return scale, 0.0
    scale = 255 / (high - low) if high > low else 0.0
    return scale, -low * scale
