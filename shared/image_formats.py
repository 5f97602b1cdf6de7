"""Formats of the images that Rayon reads, and the suffixes of their files: the one list of them."""

#: Suffixes by format, as Pillow calls it; those that browsers show, what phones take, and TIFF.
#: Other formats may have slow or unsafe decoders.
SUFFIXES_BY_FORMAT: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "ICO": (".ico",),
}
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_BY_FORMAT.values() for suffix in suffixes)
#: The formats in a message.
NAMES = ", ".join({"WEBP": "WebP", "HEIF": "HEIC"}.get(name, name) for name in SUFFIXES_BY_FORMAT)
#: Message for a file without content.
EMPTY = f"Expected an image ({NAMES}). Received: an empty file"
#: Media types of the formats that browsers show, by the place and the first bytes of their mark.
_MARKS = {
    (0, b"\xff\xd8\xff"): "image/jpeg",
    (0, b"\x89PNG\r\n"): "image/png",
    (0, b"GIF8"): "image/gif",
    (8, b"WEBP"): "image/webp",
    (4, b"ftypavif"): "image/avif",
    (0, b"BM"): "image/bmp",
    (0, b"\0\0\1\0"): "image/x-icon",
}
OTHER_TYPE = "application/octet-stream"
MEDIA_TYPES = (*_MARKS.values(), OTHER_TYPE)


def media_type(content: bytes) -> str:
    """Return the media type of an image that browsers show, or `OTHER_TYPE`."""
    found = (kind for (at, mark), kind in _MARKS.items() if content.startswith(mark, at))
    return next(found, OTHER_TYPE)
