"""Reads each image of a dataset once, records its properties and keeps some thumbnails."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import pandas as pd
from PIL import Image

from shared.errors import RayonError
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.image import FORMATS
from shared.skipping import skipping

#: Images read ahead, which bounds the number in memory.
CHUNK = 64
#: Longest side and JPEG quality of a thumbnail: about 3 kB each.
THUMBNAIL_PIXELS, THUMBNAIL_QUALITY = 112, 70
#: Side of the decoded preview that detects broken and blank images.
PREVIEW_PIXELS = 32
#: An image is blank if no channel's standard deviation, of 255, reaches this.
BLANK_DEVIATION = 2.0
#: EXIF orientations from 5 on are rotated by 90 degrees, so width and height are swapped.
_ORIENTATION, _TURNED = 0x0112, 5


@dataclass(frozen=True)
class ImageFacts:
    """Properties of one image.

    Attributes:
        digest: SHA-256 of the file.
        fault: Reason why the image cannot be read, or empty; if set, all else is 0 or empty.
        thumbnail: JPEG for a contact sheet, if requested.
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
    thumbnail: bytes = b""


@dataclass(frozen=True)
class ImageSurvey:
    """Properties of all images of a dataset.

    Attributes:
        table: Columns of `ImageFacts` except `thumbnail`, indexed by reference.
        thumbnails: JPEGs by reference, for the requested images that can be read.
    """

    table: pd.DataFrame
    thumbnails: dict[str, bytes]

    @property
    def readable(self) -> pd.DataFrame:
        """Rows of the images that can be read."""
        return self.table[self.table["fault"] == ""]

    @property
    def unreadable(self) -> frozenset[str]:
        """References of images that cannot be read."""
        return frozenset(self.table.index[self.table["fault"] != ""])

    @property
    def digests(self) -> dict[str, str]:
        """Hashes of the images that can be read, by reference."""
        return dict(self.readable["digest"])


def survey_images(
    references: Iterable[str],
    read: Callable[[str], bytes],
    *,
    thumbnails: Iterable[str] = (),
    on_progress: Callable[[int], None] = lambda _done: None,
) -> ImageSurvey:
    """Read each distinct image once.

    Args:
        references: References of images; empty ones are ignored.
        read: Reads an image by its reference.
        thumbnails: References of the images to make thumbnails of.
        on_progress: Called after each image with the number of images read.
    """
    requested = set(thumbnails)
    unique = dict.fromkeys(reference for reference in references if reference)
    lines, kept = [], {}
    for done, facts in enumerate(_facts_in_order(unique, read, requested), start=1):
        if facts.thumbnail:
            kept[facts.reference] = facts.thumbnail
        lines.append(tuple(getattr(facts, name) for name in _COLUMNS))
        on_progress(done)
    table = pd.DataFrame(lines, columns=list(_COLUMNS)).set_index("reference")
    return ImageSurvey(table, kept)


def sample(rows: pd.DataFrame, most: int, *, seed: int = 0) -> dict[int, list[str]]:
    """Draw up to `most` distinct images of each category, by code."""
    distinct = rows[rows["image"] != ""].drop_duplicates(["code", "image"])
    shuffled = distinct.sample(frac=1.0, random_state=seed)
    return {
        int(code): group.head(most).tolist()
        for code, group in shuffled["image"].groupby(shuffled["code"])
    }


def sizes(survey: ImageSurvey, *, most: int = 12) -> pd.DataFrame:
    """Count readable images by width and height, most frequent first, the rest in one line."""
    table = survey.readable
    size = table["width"].astype(str) + " × " + table["height"].astype(str)
    counts = size.value_counts()
    kept = counts.head(most)
    if len(counts) > most:
        kept = pd.concat([kept, pd.Series({"other sizes": counts.iloc[most:].sum()})])
    return pd.DataFrame({"images": kept, "share": kept / max(len(table), 1)})


def kinds(survey: ImageSurvey) -> pd.DataFrame:
    """Count readable images by format and colour mode, most frequent first."""
    table = survey.readable
    counts = (table["format"] + ", " + table["mode"]).value_counts()
    return pd.DataFrame({"images": counts, "share": counts / max(len(table), 1)})


def extent(survey: ImageSurvey) -> pd.DataFrame:
    """Return the smallest, median and largest width, height and file size of readable images."""
    table = survey.readable
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


def faults(survey: ImageSurvey) -> pd.DataFrame:
    """Count unreadable images by fault: `images`, and the reference of an `example`."""
    broken = survey.table[survey.table["fault"] != ""]
    example = broken.index.to_series().groupby(broken["fault"]).first()
    counts = broken["fault"].value_counts()
    return pd.DataFrame({"images": counts, "example": example.reindex(counts.index)})


def _facts_in_order(
    references: Iterable[str], read: Callable[[str], bytes], thumbnails: set[str]
) -> Iterator[ImageFacts]:
    waiting = iter(references)
    # Pillow warns about unusual metadata, which is irrelevant here. Warning filters are global to
    # the process, so they are set outside the threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")

        def submit() -> list[Future[ImageFacts]]:
            return [
                pool.submit(_facts, reference, read, reference in thumbnails)
                for reference in islice(waiting, CHUNK)
            ]

        ahead = submit()
        while ahead:
            current, ahead = ahead, submit()
            for future in current:
                yield future.result()


def _facts(reference: str, read: Callable[[str], bytes], has_thumbnail: bool) -> ImageFacts:
    with skipping("explore", reference):
        return _facts_of(reference, read, has_thumbnail)
    return ImageFacts(reference, fault="Reading the image raises an unexpected error")


def _facts_of(reference: str, read: Callable[[str], bytes], has_thumbnail: bool) -> ImageFacts:
    try:
        content = read(reference)
        preview = prepare(content, PREVIEW_PIXELS)
    except RayonError as error:
        return ImageFacts(reference, fault=_fault(error))
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        size, mode, form = image.size, image.mode, image.format or ""
        if image.getexif().get(_ORIENTATION, 0) >= _TURNED:
            size = (size[1], size[0])
    return ImageFacts(
        reference,
        size_bytes=len(content),
        width=size[0],
        height=size[1],
        mode=mode,
        format=form,
        digest=hashlib.sha256(content).hexdigest(),
        is_blank=bool(preview.std(axis=(0, 1)).max() < BLANK_DEVIATION),
        thumbnail=_thumbnail(content, size) if has_thumbnail else b"",
    )


def _thumbnail(content: bytes, size: tuple[int, int]) -> bytes:
    """Encode a thumbnail with the original aspect ratio; `prepare` makes images square."""
    pixels = prepare(content, 2 * THUMBNAIL_PIXELS)
    scale = THUMBNAIL_PIXELS / max(size)
    shape = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    packed = io.BytesIO()
    Image.fromarray(pixels).resize(shape).save(packed, "JPEG", quality=THUMBNAIL_QUALITY)
    return packed.getvalue()


def _fault(error: RayonError) -> str:
    """Return the error without the parts that differ between images."""
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
