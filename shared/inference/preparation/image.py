"""Preparation of images for training and serving; its version is part of the release.

`decode` runs in the processes of `shared.inference.preparation.decoders`, which bound its cost. It
imports Pillow and its plugin for HEIC only, so that such a process is small and starts fast.
"""

import io
import warnings
from collections.abc import Callable

from pi_heif import register_heif_opener
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from shared.errors import ImageUnreadable
from shared.image_formats import EMPTY, NAMES, SUFFIXES_BY_FORMAT
from shared.inference.preparation import greys, jpegs

#: Version of the preparation; changes whenever the same image would give other pixels.
IMAGE_PREPARATION = "image-1"
#: Limit against decompression bombs, checked on the header before decoding.
MAX_PIXELS = 50_000_000
#: Formats for `Image.open`; importing this module registers them.
FORMATS = tuple(SUFFIXES_BY_FORMAT)
#: Quality of a thumbnail as WebP, and the effort of its encoder, 0 to 6. One of 320 pixels takes
#: 4 ms and 8 kB; the default effort, 4, takes 8 ms and saves 4 % of the bytes.
THUMBNAIL_QUALITY, THUMBNAIL_EFFORT = 78, 2
#: Message of Pillow's `OSError` where a decoder written in C cannot allocate.
_OUT_OF_MEMORY = "out of memory"
#: Modes with transparency; those with a small `a` are multiplied by it.
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Registered at import, as Pillow registers its own formats. Thumbnails and depth maps are not read,
# and further threads would need memory of their own.
register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


class Declined(Exception):
    """Raised by `on_pixels` for an image that is not to be decoded here."""


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
        ImageUnreadable: Not an image, broken, larger than `MAX_PIXELS`, or a JPEG of more than
            `jpegs.MAX_SCANS`.
        MemoryError: The process may not use as much memory as the image needs.
        Declined: `on_pixels` raised it.
    """
    return _made(content, size, _pixels, on_pixels)


def thumbnail(
    content: bytes, size: int, on_pixels: Callable[[int], None] = lambda _: None
) -> bytes:
    """Decode an image and return a smaller one for people, as WebP without metadata.

    The image is read as `decode` reads it, and keeps its proportions. A small one is not enlarged.

    Args:
        content: File of the image.
        size: Most pixels of its width and of its height.
        on_pixels: As for `decode`.

    Raises:
        ImageUnreadable: As for `decode`.
        MemoryError: As for `decode`.
        Declined: `on_pixels` raised it.
    """
    return _made(content, size, _smaller, on_pixels)


def _made(
    content: bytes,
    size: int,
    make: Callable[[Image.Image, int], bytes],
    on_pixels: Callable[[int], None],
) -> bytes:
    """Return what `make` makes of an image and a size."""
    if not content:
        raise ImageUnreadable(EMPTY)
    try:
        with warnings.catch_warnings():
            # Pillow warns about size, which is checked below, and about irrelevant metadata.
            warnings.simplefilter("ignore")
            return _decoded(content, size, make, on_pixels)
    except (ImageUnreadable, MemoryError, Declined):
        raise
    except UnidentifiedImageError as error:
        raise ImageUnreadable(
            f"Expected an image ({NAMES}). Received: {len(content)} bytes of something else"
        ) from error
    except Exception as error:
        # A broken image makes Pillow raise whatever its code stumbles over.
        if _OUT_OF_MEMORY in str(error):
            raise MemoryError(str(error)) from error
        raise ImageUnreadable(f"The image is broken: {type(error).__name__}: {error}") from error


def _decoded(
    content: bytes,
    size: int,
    make: Callable[[Image.Image, int], bytes],
    on_pixels: Callable[[int], None],
) -> bytes:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageUnreadable(
                f"Expected at most {MAX_PIXELS} pixels. Received: {width} x {height}"
            )
        # By class: a JPEG that announces further images is an `MPO`, and decodes in the same way.
        is_jpeg = isinstance(image, JpegImageFile)
        if is_jpeg:
            jpegs.require_few_scans(content)
        on_pixels(width * height)
        try:
            return make(image, size)
        except OSError:
            if not is_jpeg or not jpegs.is_cut_off(content):
                raise
    with Image.open(io.BytesIO(content + jpegs.END), formats=FORMATS) as image:
        image.draft("RGB", (size, size))
        jpegs.require_nearly_whole(image)
        return make(image, size)


def _pixels(image: Image.Image, size: int) -> bytes:
    # A JPEG decodes at half or a quarter of its size in a fraction of the time.
    image.draft("RGB", (size, size))
    return _upright(image).resize((size, size), Image.Resampling.BILINEAR).tobytes()


def _smaller(image: Image.Image, size: int) -> bytes:
    image.draft("RGB", (size, size))
    small = _upright(image)
    small.thumbnail((size, size), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=THUMBNAIL_QUALITY, method=THUMBNAIL_EFFORT)
    return file.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    # Before a TIFF is loaded, because Pillow would turn it then, and write its metadata again,
    # which fails for much that can be read. The metadata of a PNG may be at its end.
    turn = _turn(image) if image.format == "TIFF" else None
    image.load()
    turn = turn or _turn(image)
    return _rgb(image if turn is None else image.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Take the orientation out of an image's metadata."""
    try:
        return _TURNS.get(image.getexif().pop(ExifTags.Base.Orientation, None))
    except MemoryError:
        raise
    except Exception:
        # Metadata that cannot be read is no reason to refuse an image.
        return None


def _rgb(image: Image.Image) -> Image.Image:
    image = greys.eight_bits(image)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
