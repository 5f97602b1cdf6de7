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
