"""Style sheets, scripts and icons of the console.

All addresses contain a digest of all files, so that browsers may keep them for ever, and scripts
may import one another by relative addresses.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("static")
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Assets:
    """The files by name, and the digest of all of them."""

    files: dict[str, bytes]
    digest: str


@cache
def assets() -> Assets:
    """Return the files of the folder `static`, read once."""
    files = {
        path.name: path.read_bytes()
        for path in sorted(FOLDER.iterdir())
        if path.suffix in MEDIA_TYPES
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(name.encode() + b"\0" + content)
    return Assets(files, digest.hexdigest()[:16])


def media_type(name: str) -> str:
    """Return the media type of a file of the folder."""
    return MEDIA_TYPES[Path(name).suffix]
