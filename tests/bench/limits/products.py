"""Products for the measurements, and the messages that carry them."""

import itertools
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
    """Title and description of a product."""

    designation: str
    description: str


def products_and_images(
    folder: Path | None, texts: int, image_count: int
) -> tuple[list[Product], list[bytes]]:
    """Return the test rows of a dataset, or without one example products and generated images."""
    if folder is not None and folder.is_dir():
        data = dataset(folder)
        rows = rows_of(data, "text")
        examples = [Product(str(r.designation), str(r.description)) for r in rows.itertuples()]
        files = [Path(str(r.image)) for r in rows_of(data, "image").itertuples()]
        images = [files[n % len(files)].read_bytes() + os.urandom(8) for n in range(image_count)]
    else:
        examples = [Product(row.designation, row.description) for row in read(GOLDEN)]
        images = [drawn() for _ in range(image_count)]
    # The number makes each text unique, so that no cache answers for a repeated one.
    return [
        Product(f"{example.designation} {number}", example.description)
        for number, example in zip(range(texts), itertools.cycle(examples), strict=False)
    ], images


def text_message(products: Sequence[Product]) -> ScoreText:
    """Return a message with texts of a catalog."""
    items = tuple(
        TextItem(job_id=new_id(), designation=product.designation, description=product.description)
        for product in products
    )
    return ScoreText(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def image_message(uris: Sequence[str]) -> ScoreImage:
    """Return a message with images of a catalog."""
    items = tuple(ImageItem(job_id=new_id(), uri=uri) for uri in uris)
    return ScoreImage(trace_id=TRACE, lane=Lane.CATALOG, release="1", items=items)


def slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Divide a sequence into slices of a size; the last may be smaller."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
