"""Products to work with, and the messages that carry them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.settings import CatalogSettings
from infra.acceptance.products import dataset, rows_of
from infra.acceptance.smoke import drawn
from infra.acceptance.validation import GOLDEN, read
from shared.contracts import ImageItem, Lane, ScoreImage, ScoreText, TextItem
from shared.db.models import new_id

TRACE = "0" * 31 + "1"
TEXT_SLICE, IMAGE_SLICE = CatalogSettings().text_slice, CatalogSettings().image_slice


@dataclass(frozen=True)
class Product:
    """A product to work with."""

    designation: str
    description: str


def material(
    folder: Path | None, texts: int, image_count: int
) -> tuple[list[Product], list[bytes]]:
    """Products and images of a dataset's test rows, or written and drawn here."""
    if folder is not None and folder.is_dir():
        data = dataset(folder)
        rows = rows_of(data, "text")
        found = [Product(str(r.designation), str(r.description)) for r in rows.itertuples()]
        files = [Path(str(r.image)) for r in rows_of(data, "image").itertuples()]
        images = [files[n % len(files)].read_bytes() + os.urandom(8) for n in range(image_count)]
    else:
        found = [Product(one.designation, one.description) for one in read(GOLDEN)]
        images = [drawn() for _ in range(image_count)]
    # Numbered, for a text that comes again might be remembered somewhere.
    return [
        Product(f"{one.designation} {number}", one.description)
        for number, one in zip(range(texts), _around(found), strict=False)
    ], images


def text_message(products: Sequence[Product]) -> ScoreText:
    """A message of texts as a catalog's are."""
    items = tuple(
        TextItem(job_id=new_id(), designation=one.designation, description=one.description)
        for one in products
    )
    return ScoreText(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def image_message(uris: Sequence[str]) -> ScoreImage:
    """A message of images as a catalog's are."""
    items = tuple(ImageItem(job_id=new_id(), uri=uri) for uri in uris)
    return ScoreImage(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def slices(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut into parts of a size; the last may be smaller."""
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _around(things: Sequence[Product]) -> Iterator[Product]:
    while True:
        yield from things
