"""Catalogs that benchmarks send: their files, their end and their results."""

import csv
import io
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client

#: A catalog that is not final after this time is returned as it is.
FINAL_SECONDS = 600.0


@dataclass(frozen=True)
class Files:
    """Files of one catalog."""

    products: bytes
    images: bytes

    @property
    def form(self) -> dict[str, tuple[str, bytes]]:
        """Files of the multipart form."""
        return {"products": ("p.csv", self.products), "images": ("p.zip", self.images)}


def files_of(texts: pd.DataFrame, images: pd.DataFrame, salt: bytes) -> Files:
    """Return the files of a catalog: rows with texts only, then rows with texts and images.

    Args:
        texts: Rows without images.
        images: Rows with images.
        salt: Bytes that make the images unique.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["designation", "description", "image"])
    for row in texts.itertuples():
        writer.writerow([row.designation, row.description, ""])
    for row in images.itertuples():
        writer.writerow([row.designation, row.description, Path(str(row.image)).name])
    return Files(table.getvalue().encode(), archive_of(images, salt))


def archive_of(images: pd.DataFrame, salt: bytes) -> bytes:
    """Return a ZIP archive of images; `salt` makes each of them unique."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for image in images["image"]:
            path = Path(str(image))
            # The salt changes the file and not its pixels, so that no worker has it in its cache.
            packed.writestr(path.name, path.read_bytes() + salt)
    return archive.getvalue()


async def final_catalog(client: Client, catalog_id: str) -> dict[str, Any]:
    """Wait until a catalog is final, and return it; after `FINAL_SECONDS` return it as it is."""
    deadline = time.perf_counter() + FINAL_SECONDS
    while True:
        catalog = await client.get(f"/v1/catalogs/{catalog_id}", wait=10)
        is_final = catalog["status"] not in ("validating", "running")
        if is_final or time.perf_counter() > deadline:
            return catalog


async def results_of(client: Client, catalog_id: str) -> list[dict[str, str]]:
    """Return the rows of the results of a catalog."""
    table = await client.text(f"/v1/catalogs/{catalog_id}/results")
    return list(csv.DictReader(io.StringIO(table)))
