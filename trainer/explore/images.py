"""Looks at each image of a dataset once, one after the other, and keeps some small ones."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from shared.errors import RayonError
from shared.inference.preparation.image import FORMATS, prepare

#: Images that are read ahead; no more are in memory.
CHUNK = 64
#: Longest side of a small image, and how it is packed: about 3 kB each.
SMALL_PIXELS, SMALL_QUALITY = 112, 70
#: Side at which an image is decoded to see whether it can be, and whether anything is on it.
GLANCE_PIXELS = 32
#: An image whose brightness deviates less, of 255, shows nothing.
BLANK_DEVIATION = 2.0
#: EXIF: the camera was turned to its side, so width and height change places.
_ORIENTATION, _TURNED = 0x0112, 5


@dataclass(frozen=True)
class Look:
    """What one image is like.

    Attributes:
        digest: SHA-256 of the file.
        fault: Why it cannot be read, or empty; without an image all else is 0 or empty.
        small: A JPEG of the image for a sheet, if one was asked for.
    """

    reference: str
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    digest: str = ""
    is_blank: bool = False
    fault: str = ""
    small: bytes = b""


@dataclass(frozen=True)
class Looks:
    """What all images of a dataset are like.

    Attributes:
        table: By reference, with the columns of `Look` but for `small`.
        small: JPEGs by reference, of those that were asked for and can be read.
    """

    table: pd.DataFrame
    small: dict[str, bytes]

    @property
    def readable(self) -> pd.DataFrame:
        """Images that can be read."""
        return self.table[self.table["fault"] == ""]

    @property
    def unreadable(self) -> frozenset[str]:
        """References of images that cannot be read."""
        return frozenset(self.table.index[self.table["fault"] != ""])

    @property
    def digests(self) -> dict[str, str]:
        """Hash of each image that can be read, by reference."""
        return dict(self.readable["digest"])


def look_at_all(
    references: Iterable[str],
    read: Callable[[str], bytes],
    *,
    small: Iterable[str] = (),
    tell: Callable[[int], None] = lambda _done: None,
) -> Looks:
    """Look at each image once; one that is named twice, once.

    Args:
        references: Of images; empty ones are left out.
        read: How a reference is read.
        small: References to make small images of.
        tell: Called with the number of images looked at, after each.
    """
    wanted = set(small)
    unique = dict.fromkeys(reference for reference in references if reference)
    lines, kept = [], {}
    for done, look in enumerate(_looks(unique, read, wanted), start=1):
        if look.small:
            kept[look.reference] = look.small
        lines.append(tuple(getattr(look, name) for name in _COLUMNS))
        tell(done)
    table = pd.DataFrame(lines, columns=list(_COLUMNS)).set_index("reference")
    return Looks(table, kept)


def sample(rows: pd.DataFrame, most: int, *, seed: int = 0) -> dict[int, list[str]]:
    """Choose up to `most` different images of each category, by code."""
    there = rows[rows["image"] != ""].drop_duplicates(["code", "image"])
    mixed = there.sample(frac=1.0, random_state=seed)
    return {
        int(code): group.head(most).tolist()
        for code, group in mixed["image"].groupby(mixed["code"])
    }


def sizes(looks: Looks, *, most: int = 12) -> pd.DataFrame:
    """Readable images by width and height, most frequent first, the rest in one line."""
    table = looks.readable
    size = table["width"].astype(str) + " × " + table["height"].astype(str)
    counts = size.value_counts()
    kept = counts.head(most)
    if len(counts) > most:
        kept = pd.concat([kept, pd.Series({"other sizes": counts.iloc[most:].sum()})])
    return pd.DataFrame({"images": kept, "share": kept / max(len(table), 1)})


def kinds(looks: Looks) -> pd.DataFrame:
    """Readable images by format and colour mode, most frequent first."""
    table = looks.readable
    counts = (table["format"] + ", " + table["mode"]).value_counts()
    return pd.DataFrame({"images": counts, "share": counts / max(len(table), 1)})


def extent(looks: Looks) -> pd.DataFrame:
    """Smallest, median and largest width, height and file of the readable images."""
    table = looks.readable
    if table.empty:
        return pd.DataFrame(columns=["smallest", "median", "largest"])
    return pd.DataFrame(
        [
            (table[name].min(), table[name].median(), table[name].max())
            for name in ("width", "height", "size_bytes")
        ],
        index=["Width, pixels", "Height, pixels", "File, bytes"],
        columns=["smallest", "median", "largest"],
    )


def faults(looks: Looks) -> pd.DataFrame:
    """Images that cannot be read, by what is wrong: `images` and an example's file name."""
    broken = looks.table[looks.table["fault"] != ""]
    example = broken.index.to_series().groupby(broken["fault"]).first()
    counts = broken["fault"].value_counts()
    return pd.DataFrame({"images": counts, "example": example.reindex(counts.index)})


def _looks(
    references: Iterable[str], read: Callable[[str], bytes], small: set[str]
) -> Iterator[Look]:
    waiting = iter(references)
    # Pillow warns of odd metadata that does not matter here; filters are the whole process's.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")

        def submit() -> list[Future[Look]]:
            return [
                pool.submit(_look, reference, read, reference in small)
                for reference in islice(waiting, CHUNK)
            ]

        ahead = submit()
        while ahead:
            now, ahead = ahead, submit()
            for look in now:
                yield look.result()


def _look(reference: str, read: Callable[[str], bytes], is_small: bool) -> Look:
    try:
        content = read(reference)
        glance = prepare(content, GLANCE_PIXELS)
    except RayonError as error:
        return Look(reference, fault=_kind(error))
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        size, mode, form = image.size, image.mode, image.format or ""
        if image.getexif().get(_ORIENTATION, 0) >= _TURNED:
            size = (size[1], size[0])
    return Look(
        reference,
        size_bytes=len(content),
        width=size[0],
        height=size[1],
        mode=mode,
        format=form,
        digest=hashlib.sha256(content).hexdigest(),
        is_blank=bool(glance.std(axis=(0, 1)).max() < BLANK_DEVIATION),
        small=_small(prepare(content, 2 * SMALL_PIXELS), size) if is_small else b"",
    )


def _small(pixels: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Bring an image that was made square back to its shape, and pack it."""
    scale = SMALL_PIXELS / max(size)
    shape = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    packed = io.BytesIO()
    Image.fromarray(pixels).resize(shape).save(packed, "JPEG", quality=SMALL_QUALITY)
    return packed.getvalue()


def _kind(error: RayonError) -> str:
    """What is wrong, without what differs from image to image."""
    head, _, tail = error.detail.partition(". Received:")
    if not tail:
        head = error.detail.partition(": ")[0]
    return head.partition(" '")[0]


_COLUMNS = (
    "reference",
    "size_bytes",
    "width",
    "height",
    "mode",
    "format",
    "digest",
    "is_blank",
    "fault",
)
