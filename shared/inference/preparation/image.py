"""Preparation of images for training and serving; its version is part of the release.

`decode` runs in the processes of `shared.inference.preparation.decoders`, which bound its cost. It
imports Pillow only, so that such a process is small and starts fast.
"""

import io
import warnings
from collections.abc import Callable

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from shared.errors import ImageUnreadable

#: Version of the preparation; changes whenever the same image would give other pixels.
IMAGE_PREPARATION = "image-1"
#: Limit against decompression bombs, checked on the header before decoding.
MAX_PIXELS = 50_000_000
#: Limit of JPEG scans; a progressive JPEG has about ten. A scan of 14 bytes costs a whole pass.
MAX_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
#: Message of Pillow's `OSError` where a decoder written in C cannot allocate.
_OUT_OF_MEMORY = "out of memory"
#: Formats that shops use; other formats may have slow or unsafe decoders.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def decode(content: bytes, size: int, on_pixels: Callable[[int], None] = lambda _: None) -> bytes:
    """Decode an image and resize it for the model.

    The EXIF orientation is applied, transparency becomes white, every colour mode becomes RGB.

    Args:
        content: File of the image.
        size: Width and height of the result.
        on_pixels: Called with the number of pixels that the header promises, before they are
            decoded.

    Returns:
        Pixels, shape `(size, size, 3)`, 0 to 255.

    Raises:
        ImageUnreadable: Not an image, cut off, larger than `MAX_PIXELS`, or a JPEG of more than
            `MAX_SCANS`.
        MemoryError: The process may not use as much memory as the image needs.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about size, which is checked below, and about irrelevant metadata.
            warnings.simplefilter("ignore")
            return _decoded(content, size, on_pixels)
    except ImageUnreadable:
        raise
    except UnidentifiedImageError as error:
        raise ImageUnreadable(
            f"Expected an image ({', '.join(FORMATS)}). "
            f"Received: {len(content)} bytes of something else"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        if _OUT_OF_MEMORY in str(error):
            raise MemoryError(str(error)) from error
        raise ImageUnreadable(f"The image is broken: {error}") from error


def _decoded(content: bytes, size: int, on_pixels: Callable[[int], None]) -> bytes:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageUnreadable(
                f"Expected at most {MAX_PIXELS} pixels. Received: {width} x {height}"
            )
        _require_few_scans(image, content)
        on_pixels(width * height)
        # A JPEG decodes at half or a quarter of its size in a fraction of the time.
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image)
        return _rgb(upright).resize((size, size), Image.Resampling.BILINEAR).tobytes()


def _require_few_scans(image: Image.Image, content: bytes) -> None:
    # By class: a JPEG that announces further images is an `MPO`, and decodes in the same way.
    if not isinstance(image, JpegImageFile):
        return
    # These two bytes occur nowhere else in encoded data.
    scans = content.count(_START_OF_SCAN)
    if scans > MAX_SCANS:
        raise ImageUnreadable(f"Expected a JPEG of at most {MAX_SCANS} scans. Received: {scans}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
