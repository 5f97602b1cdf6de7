"""The one preparation of pictures, for trainer and worker; its version is in the release."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageUnreadable

#: Changes whenever the same picture would give other numbers.
IMAGE_PREPARATION = "image-1"
#: A few kilobytes can unpack to gigabytes; this is judged by the header, before decoding.
MAX_PIXELS = 50_000_000
#: Formats that shops use. Others may have slow or unsafe decoders.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def prepare(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode a picture and bring it to the size that the model reads.

    The camera's rotation is applied, transparency becomes white, every colour mode becomes RGB.

    Returns:
        Pixels, shape `(size, size, 3)`, 0 to 255.

    Raises:
        ImageUnreadable: Not a picture, cut off, or larger than `MAX_PIXELS`.
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
        # A JPEG can be decoded at a half or a quarter of its size for a fraction of the time.
        picture.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(picture)
        small = _rgb(upright).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")
