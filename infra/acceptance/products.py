"""Products to send: the test rows of a dataset in the challenge's layout."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from infra.acceptance.client import Product
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load


def dataset(folder: Path) -> Dataset:
    """Read a dataset, or exit with a one-line message."""
    if not folder.is_dir():
        raise SystemExit(f"No data in {folder}: make … DATA=folder of the challenge download")
    return load(folder)


def rows_of(data: Dataset, model: str) -> pd.DataFrame:
    """Return the test rows that have the inputs of a model."""
    return data.part("test", text=model != "image", image=model != "text")


def products_of(rows: pd.DataFrame, model: str, salt: bytes = b"") -> Sequence[Product]:
    """Return the rows as products for a model; `salt` makes their images unique."""
    columns = ("designation", "description", "image")
    return [
        Product(
            model=model,
            designation="" if model == "image" else str(designation),
            description="" if model == "image" else str(description),
            image=None if model == "text" else Path(str(image)),
            salt=salt,
        )
        for designation, description, image in zip(*(rows[c] for c in columns), strict=True)
    ]
