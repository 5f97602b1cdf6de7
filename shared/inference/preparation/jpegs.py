"""Structure of JPEG files: number of scans, end mark, data that is missing at the end."""

import re

from PIL import Image, ImageChops

from shared.errors import ImageUnreadable

#: Limit of scans; a progressive JPEG has about ten. A scan of 14 bytes costs a whole pass.
MAX_SCANS = 100
#: Largest share of its height that may be missing at the bottom of an image that is used.
MOST_MISSING = 0.05
END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
#: Marks without a length: a second start of the image, and one that has no meaning.
_BARE = (0xD8, 0x01)
# Zeros follow a byte of data that looks like a mark, and restarts are part of the data.
_MARK = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
#: Colours in which the decoder leaves what is missing: grey, and the same printed.
_MISSING = (127, 128)
#: Last coefficient of a block.
_LAST = 63


def require_few_scans(content: bytes) -> None:
    """Raise `ImageUnreadable` if decoding the first image of a file takes too many passes."""
    scans = sum(code == _START_OF_SCAN for code, _ in marks(content))
    if scans > MAX_SCANS:
        raise ImageUnreadable(f"Expected a JPEG of at most {MAX_SCANS} scans. Received: {scans}")


def is_cut_off(content: bytes) -> bool:
    """Return True if the first image has no end mark, but its last scan has begun.

    The scans of a progressive image refine one another: without the last ones it is coarse.
    """
    found = marks(content)
    if not found or found[-1][0] != _START_OF_SCAN:
        return False
    position = found[-1][1]
    end = position + _length(content, position)
    # The last two bytes: the last coefficient, and the lowest bit, that the scan refines.
    *_, last, bits = content[position:end] or b"\0\0"
    return last == _LAST and bits & 0x0F == 0


def require_nearly_whole(image: Image.Image) -> None:
    """Raise `ImageUnreadable` if more than `MOST_MISSING` of a decoded image is missing.

    Args:
        image: Image of a file to which an end mark was added, not turned.
    """
    corner = image.getpixel((image.width - 1, image.height - 1))
    bands = corner if isinstance(corner, tuple) else (corner,)
    if any(band not in _MISSING for band in bands):
        return
    empty = Image.new(image.mode, image.size, corner)
    found = ImageChops.difference(image, empty).getbbox()
    missing = 1 - (found[3] if found else 0) / image.height
    if missing > MOST_MISSING:
        raise ImageUnreadable(f"The image is broken: {missing:.0%} of it is missing")


def marks(content: bytes) -> list[tuple[int, int]]:
    """Return the marks of the first image in a file, up to its end: codes and what follows where.

    They are found as decoders find them: what follows the end, such as the clip of a motion photo,
    and what stands within a segment, such as a thumbnail, is not read.
    """
    found: list[tuple[int, int]] = []
    mark = _MARK.search(content, 2)
    while mark:
        code, position = content[mark.end() - 1], mark.end()
        found.append((code, position))
        if code == _END_OF_IMAGE:
            break
        length = 0 if code in _BARE else _length(content, position)
        mark = _MARK.search(content, position + length)
    return found


def _length(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 2], "big")
