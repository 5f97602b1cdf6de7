"""Images that take much time or memory for their size."""

import io
import struct

from PIL import Image


def long_line_bmp(width: int = 50_000_000, number: int = 0) -> bytes:
    """Return a BMP of 1,088 bytes with one line, most of which Pillow fills byte by byte.

    Args:
        width: Length of the line; 50,000,000 pixels take 6 s.
        number: Makes the file unique.
    """
    # A run of one pixel, and the end of the line.
    runs = b"\x01\x00\x00\x00\x00\x01" + number.to_bytes(4, "big")
    start = 54 + 1024
    head = struct.pack("<IHHI", start + len(runs), 0, 0, start)
    form = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(runs), 0, 0, 256, 256)
    return b"BM" + head + form + bytes(1024) + runs


def repeated_scans(side: int, scans: int, form: str = "MPO") -> bytes:
    """Return a progressive JPEG, or an `MPO`, whose last scan is repeated."""
    image, stream = Image.new("L", (side, side)), io.BytesIO()
    others = {"save_all": True, "append_images": [image]} if form == "MPO" else {}
    image.save(stream, form, progressive=True, **others)
    content = stream.getvalue()
    end = content.index(b"\xff\xd9")
    last = content[content.rindex(b"\xff\xda", 0, end) : end]
    return content[:end] + last * scans + content[end:]
