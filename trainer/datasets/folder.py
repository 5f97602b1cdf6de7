"""Reads labelled products from a folder, of any size and with any categories.

The layout is that of the Rakuten France challenge: `X_train_update.csv`, `Y_train_CVw08PX.csv` and
images in `images/image_train/`, `images/*.zip` or `images.zip`. Read where present:

* `splits.csv`: which rows are `train` and which `test`; without it the title decides.
* `image_only.csv`: images whose text is not known.
* `X_test_update.csv` with `Y_test_consensus.csv` and `images/image_test/`: weak labels. They are
  trained on, never measured on.
* `categories.csv`: readable names and the official shares.

Or a simple one: `products.csv` with `designation`, `description`, `image` (a file name) and
`prdtypecode`; labels may be apart in `labels.csv`, images are in `images/` or `images.zip`.

Texts are in memory, 84,916 rows of them in 0.2 GB; images stay where they are.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.errors import InvalidInput
from trainer.datasets.findings import Finding, error
from trainer.datasets.images import Images, file_name, images_in, read_image
from trainer.datasets.tables import Table, labelled, read_table

CHALLENGE = ("X_train_update.csv", "Y_train_CVw08PX.csv")
SIMPLE = ("products.csv", "labels.csv")
TEXT_COLUMNS = ("designation", "description", "productid", "imageid")
#: What the fingerprint covers, beside the rows' numbers.
_CONTENT = ("designation", "description", "code", "part", "image", "image_bytes")


@dataclass(frozen=True)
class Dataset:
    """Products with labels.

    Attributes:
        rows: One product each: `designation`, `description`, `image` (a reference for
            `read_image`: a path, one inside a ZIP archive, or empty), `code`, `has_text`, and
            `part`: `train`, `validation`, `test`, `weak` or `weak_held`.
        categories: In the order of the probability columns.
        official_share: Share of each category in the official training rows, where known.
        read: How an image's reference is read.
        made: Fingerprint that a stored version was given when it was made.
    """

    rows: pd.DataFrame
    categories: CategorySet
    official_share: dict[int, float]
    read: Callable[[str], bytes] = read_image
    made: str = ""

    def part(self, *names: str, text: bool = False, image: bool = False) -> pd.DataFrame:
        """Rows of some parts; `text` and `image` keep only those that have one."""
        rows = self.rows[self.rows["part"].isin(names)]
        if text:
            rows = rows[rows["has_text"]]
        return rows[rows["image"] != ""] if image else rows

    def targets(self, rows: pd.DataFrame) -> NDArray[np.int64]:
        """Column numbers of the rows' categories, shape `(rows,)`."""
        position = {code: column for column, code in enumerate(self.categories.codes)}
        return np.array(rows["code"].map(position), dtype=np.int64)

    def read_image(self, reference: str) -> bytes:
        """Read one image.

        Raises:
            NotFound: It is not there (any more).
            InvalidInput: It lies in an archive that is broken.
        """
        return self.read(reference)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, labels, parts, category names and images: equal for equal data.

        Of an image its file name and size count, not its bytes: reading 2.2 GB at each start
        would cost half a minute, and what is computed from an image is kept by its own hash.
        Where the folder lies, and whether its images are packed, makes no difference.
        """
        if self.made:
            return self.made
        digest = hashlib.sha256()
        for category in self.categories.categories:
            digest.update(json.dumps([category.code, category.name]).encode())
        columns = [self.rows[name] for name in _CONTENT if name in self.rows]
        at = [column.name for column in columns].index("image")
        for number, *values in zip(self.rows.index, *columns, strict=True):
            values[at] = file_name(values[at])
            digest.update(json.dumps([str(number), *map(str, values)]).encode())
        return digest.hexdigest()


def labelled_rows(folder: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """All rows that a person labelled, and what makes it impossible to train on them.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    products, labels = tables(folder)
    rows, findings = labelled(products, labels)
    only = folder / "image_only.csv"
    if only.exists():
        more, faults = labelled(read_table(only, ("productid", "imageid", "prdtypecode")), None)
        rows, findings = pd.concat([rows, more]), findings + faults
        if rows.index.has_duplicates:
            # Rows are looked up by their number; the files need not agree about those.
            rows = rows.reset_index(drop=True)
    if not findings and rows["code"].nunique() < 2:
        findings.append(
            error(
                "too_few_classes",
                "Expected rows of two or more categories. Received: "
                f"{len(rows)} rows of {rows['code'].nunique()}",
                rows.index,
            )
        )
    return with_images(rows, images_in(folder, "image_train")), findings


def weak_rows(folder: Path) -> pd.DataFrame | None:
    """Rows that were labelled by other systems, if there are any.

    Raises:
        InvalidInput: A file cannot be read, or products and labels do not fit.
    """
    products, labels = folder / "X_test_update.csv", folder / "Y_test_consensus.csv"
    if not (products.exists() and labels.exists()):
        return None
    rows, findings = labelled(
        read_table(products, TEXT_COLUMNS), read_table(labels, ("prdtypecode",))
    )
    for finding in findings:
        raise InvalidInput(finding.message)
    return with_images(rows, images_in(folder, "image_test"))


def tables(folder: Path) -> tuple[Table, Table | None]:
    """Products and labels of a folder, in whichever layout it has.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    products, labels = (folder / name for name in SIMPLE)
    if products.exists():
        return (
            read_table(products, ("designation",)),
            read_table(labels, ("prdtypecode",)) if labels.exists() else None,
        )
    products, labels = (folder / name for name in CHALLENGE)
    return read_table(products, TEXT_COLUMNS), read_table(labels, ("prdtypecode",))


def with_images(rows: pd.DataFrame, images: Images) -> pd.DataFrame:
    """Add `image`, a reference or empty, and `image_bytes`, the file's size."""
    found = [images.find(name) if name else None for name in rows["image_name"]]
    return rows.assign(
        image=pd.Series([one.reference if one else "" for one in found], rows.index, dtype=object),
        image_bytes=np.array([one.size if one else 0 for one in found], dtype=np.int64),
    )
