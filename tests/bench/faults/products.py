"""Products that arrive at a steady rate."""

from pathlib import Path

from infra.acceptance.client import Product
from infra.acceptance.products import dataset, products_of, rows_of

#: One product in so many has an image as well: an image costs a hundred times as much as a title.
IMAGE_EVERY = 50


def titles_with_some_images(folder: Path, count: int) -> list[Product]:
    """Return products of a dataset, the same each time; one in `IMAGE_EVERY` has an image."""
    data = dataset(folder)
    with_image = products_of(rows_of(data, "fusion").head(count // IMAGE_EVERY), "fusion")
    titles = products_of(rows_of(data, "text").head(count), "text")
    return [
        with_image[number // IMAGE_EVERY % len(with_image)]
        if number % IMAGE_EVERY == 0
        else titles[number % len(titles)]
        for number in range(count)
    ]
