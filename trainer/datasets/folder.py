"""Reads labelled products from a folder, of any size and with any categories.

The layout is that of the Rakuten France challenge: `X_train_update.csv`, `Y_train_CVw08PX.csv` and
images in `images/image_train/`, `images/*.zip` or `images.zip`. Optional files:

* `splits.csv`: assigns rows to `train` or `test`; by default a hash of the title does.
* `image_only.csv`: images without text.
* `X_test_update.csv` with `Y_test_consensus.csv` and `images/image_test/`: weak labels, which
  are used for training but never for evaluation.
* `categories.csv`: readable names and the official shares.

The simple layout is `products.csv` with `designation`, `description`, `image` (a file name) and
`prdtypecode` or `category`; labels may be in a separate `labels.csv`, images are in `images/` or
`images.zip`. Every file may be any table that catalogs may be, whatever its suffix.

A folder may also have one table of any name, with images in folders or archives beside it, or one
archive with a table and its images. The path of such a table is a dataset, too.

Texts are held in memory (84,916 rows take 0.2 GB); images are read on demand.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import structlog
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.errors import InvalidInput
from shared.tables.dataset_tables import LABELS
from trainer.datasets.findings import Finding, LabelShare, errors_in
from trainer.datasets.images import Images, file_name, images_in, read_image
from trainer.datasets.labelled.contributions import label_shares
from trainer.datasets.layout import CHALLENGE as CHALLENGE
from trainer.datasets.layout import product_tables, root_of, table_file
from trainer.datasets.tables import (
    Table,
    category_names,
    labelled,
    names_in,
    read_table,
    too_few_categories,
)

log = structlog.get_logger(__name__)

#: Columns that the fingerprint covers, beside the row numbers.
_CONTENT = ("designation", "description", "code", "part", "image", "image_bytes")


@dataclass(frozen=True)
class Dataset:
    """Labelled products.

    Attributes:
        rows: One row per product: `designation`, `description`, `image` (a reference for
            `read_image`: a path, one inside a ZIP archive, or empty), `code`, `has_text`, and
            `part`: `train`, `validation`, `test`, `weak` or `weak_held`.
        categories: Categories in the order of the probability columns.
        official_share: Share of each category in the official training rows, if known.
        read: Reads an image by its reference.
        stored_fingerprint: Fingerprint of a stored version, written when it was built.
        label_authors: Usernames by the account ids in the column `labelled_by` of a stored version.
    """

    rows: pd.DataFrame
    categories: CategorySet
    official_share: dict[int, float]
    read: Callable[[str], bytes] = read_image
    stored_fingerprint: str = ""
    label_authors: Mapping[str, str] = field(default_factory=dict)

    def part(self, *names: str, text: bool = False, image: bool = False) -> pd.DataFrame:
        """Return the rows of some parts, optionally only those with a text or an image."""
        rows = self.rows[self.rows["part"].isin(names)]
        if text:
            rows = rows[rows["has_text"]]
        return rows[rows["image"] != ""] if image else rows

    def targets(self, rows: pd.DataFrame) -> NDArray[np.int64]:
        """Return the column numbers of the rows' categories, shape `(rows,)`."""
        position = {code: column for column, code in enumerate(self.categories.codes)}
        return np.array(rows["code"].map(position), dtype=np.int64)

    def read_image(self, reference: str) -> bytes:
        """Read one image.

        Raises:
            NotFound: The image does not exist (any more).
            InvalidInput: The image is in a broken archive.
        """
        return self.read(reference)

    @cached_property
    def label_shares(self) -> tuple[LabelShare, ...]:
        """Rows to learn from by the user who labelled them; none for a folder of files."""
        if "labelled_by" not in self.rows:
            return ()
        learnt = self.rows[self.rows["part"] != "test"]
        return label_shares(learnt["labelled_by"], self.label_authors)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, labels, parts, category names and images: equal for equal data.

        Images count by file name and size, not by content: reading 2.2 GB at each start would
        take half a minute, and results computed from an image are stored by its own hash. The
        location of the folder makes no difference, nor do packed images.
        """
        if self.stored_fingerprint:
            return self.stored_fingerprint
        digest = hashlib.sha256()
        for category in self.categories.categories:
            digest.update(json.dumps([category.code, category.name]).encode())
        columns = [self.rows[name] for name in _CONTENT if name in self.rows]
        image_column = [column.name for column in columns].index("image")
        for number, *values in zip(self.rows.index, *columns, strict=True):
            values[image_column] = file_name(values[image_column])
            digest.update(json.dumps([str(number), *map(str, values)]).encode())
        return digest.hexdigest()


def labelled_rows(folder: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Read all rows labelled by people, and the errors that prevent training on them.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    products, labels = tables(folder)
    names, _ = category_names(table_file(folder, "categories.csv"))
    rows, findings = labelled(products, labels, names)
    only = root_of(folder) / "image_only.csv"
    if only.exists():
        more, faults = labelled(read_table(only), None, names_in(rows) | names)
        rows, findings = pd.concat([rows, more]), findings + faults
        if rows.index.has_duplicates:
            # Rows are looked up by number, and the two files may use the same numbers.
            rows = rows.reset_index(drop=True)
    if not errors_in(findings):
        findings += too_few_categories(rows["code"], rows.index)
    return with_images(rows, images_in(folder, "image_train")), findings


def weak_rows(folder: Path, names: Mapping[int, str] | None = None) -> pd.DataFrame | None:
    """Read the rows labelled by other systems; `None` if there are none.

    Args:
        folder: The folder.
        names: Names of the categories by code, which labels may be.

    Raises:
        InvalidInput: A file cannot be read, or products and labels do not match.
    """
    root = root_of(folder)
    products, labels = root / "X_test_update.csv", root / "Y_test_consensus.csv"
    if not (products.exists() and labels.exists()):
        return None
    rows, findings = labelled(read_table(products), read_table(labels, LABELS), names)
    for finding in errors_in(findings):
        raise InvalidInput(finding.message)
    for finding in findings:
        log.warning("dataset_finding", code=finding.code, count=finding.count, text=finding.message)
    return with_images(rows, images_in(folder, "image_test"))


def tables(folder: Path) -> tuple[Table, Table | None]:
    """Read products and labels of a dataset in any layout.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    products, labels = product_tables(folder)
    return read_table(products), read_table(labels, LABELS) if labels else None


def with_images(rows: pd.DataFrame, images: Images) -> pd.DataFrame:
    """Add `image`, a reference or empty, and `image_bytes`, the file size."""
    found = [images.find(name) if name else None for name in rows["image_name"]]
    return rows.assign(
        image=pd.Series([one.reference if one else "" for one in found], rows.index, dtype=object),
        image_bytes=np.array([one.size if one else 0 for one in found], dtype=np.int64),
    )
