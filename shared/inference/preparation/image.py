"""The one preparation of pictures, for trainer and worker; its version is in the release."""

import io
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageUnreadable

#: Changes whenever the same picture would give other numbers.
IMAGE_PREPARATION = "image-1"
#: A few kilobytes can unpack to gigabytes; this is judged by the header, before decoding.
MAX_PIXELS = 50_000_000
#: Pictures above this are decoded one at a time in a process: with transparency 20 bytes are needed
#: for a pixel, and a worker reads many messages at once.
LARGE_PIXELS = 8_000_000
#: A progressive JPEG has about ten. Each is a pass over the whole picture, for as few as 14 bytes.
MAX_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
#: Formats that shops use. Others may have slow or unsafe decoders.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_large = threading.Lock()


def prepare(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode a picture and bring it to the size that the model reads.

    The camera's rotation is applied, transparency becomes white, every colour mode becomes RGB.

    Returns:
        Pixels, shape `(size, size, 3)`, 0 to 255.

    Raises:
        ImageUnreadable: Not a picture, cut off, larger than `MAX_PIXELS`, or a JPEG of more than
            `MAX_SCANS`.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of what we judge ourselves, and of odd metadata that does not matter.
            warnings.simplefilter("ignore")
            return _decoded(content, size)
    except ImageUnreadable:
        raise
    except UnidentifiedImageError as error:
        raise ImageUnreadable(
            f"Expected a picture ({', '.join(FORMATS)}). "
            f"Received: {len(content)} bytes of something else"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The picture is broken: {error}") from error


def _decoded(content: bytes, size: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ImageUnreadable(
                f"Expected at most {MAX_PIXELS} pixels. Received: {width} x {height}"
            )
        # These two bytes stand nowhere else in what is encoded.
        if picture.format == "JPEG" and content.count(_START_OF_SCAN) > MAX_SCANS:
            raise ImageUnreadable(
                f"Expected a JPEG of at most {MAX_SCANS} scans. "
                f"Received: {content.count(_START_OF_SCAN)}"
            )
        # A JPEG can be decoded at a half or a quarter of its size for a fraction of the time.
        picture.draft("RGB", (size, size))
        with _turn(picture):
            upright = ImageOps.exif_transpose(picture)
            small = _rgb(upright).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8)


def _turn(picture: Image.Image) -> AbstractContextManager[object]:
    width, height = picture.size
    return _large if width * height > LARGE_PIXELS else nullcontext()


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")
