"""Preparation of images for training and serving; its version is part of the release."""

import io
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageUnreadable

#: Version of the preparation; changes whenever the same image would give other pixels.
IMAGE_PREPARATION = "image-1"
#: Limit against decompression bombs, checked on the header before decoding.
MAX_PIXELS = 50_000_000
#: Images above this are decoded one at a time in a process: with transparency 20 bytes are needed
#: for a pixel, and a worker reads many messages at once.
LARGE_PIXELS = 8_000_000
#: Limit of JPEG scans; a progressive JPEG has about ten. A scan of 14 bytes costs a whole pass.
MAX_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
#: Formats that shops use; other formats may have slow or unsafe decoders.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_large = threading.Lock()


def prepare(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode an image and resize it for the model.

    The EXIF orientation is applied, transparency becomes white, every colour mode becomes RGB.

    Returns:
        Pixels, shape `(size, size, 3)`, 0 to 255.

    Raises:
        ImageUnreadable: Not an image, cut off, larger than `MAX_PIXELS`, or a JPEG of more than
            `MAX_SCANS`.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about size, which is checked below, and about irrelevant metadata.
            warnings.simplefilter("ignore")
            return _decoded(content, size)
    except ImageUnreadable:
        raise
    except UnidentifiedImageError as error:
        raise ImageUnreadable(
            f"Expected an image ({', '.join(FORMATS)}). "
            f"Received: {len(content)} bytes of something else"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageUnreadable(f"The image is broken: {error}") from error


def _decoded(content: bytes, size: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageUnreadable(
                f"Expected at most {MAX_PIXELS} pixels. Received: {width} x {height}"
            )
        # These two bytes occur nowhere else in encoded data.
        if image.format == "JPEG" and content.count(_START_OF_SCAN) > MAX_SCANS:
            raise ImageUnreadable(
                f"Expected a JPEG of at most {MAX_SCANS} scans. "
                f"Received: {content.count(_START_OF_SCAN)}"
            )
        # A JPEG decodes at half or a quarter of its size in a fraction of the time.
        image.draft("RGB", (size, size))
        with _turn(image):
            upright = ImageOps.exif_transpose(image)
            small = _rgb(upright).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8)


def _turn(image: Image.Image) -> AbstractContextManager[object]:
    width, height = image.size
    return _large if width * height > LARGE_PIXELS else nullcontext()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
