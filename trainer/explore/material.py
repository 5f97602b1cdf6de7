"""Reads the dataset to explore, with category names and the findings of its check."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shared.categories import FIRST_MADE_CODE
from shared.errors import InvalidInput
from shared.inference.preparation.text import product_text
from trainer.datasets.findings import DatasetReport, Finding, error
from trainer.datasets.folder import Dataset
from trainer.datasets.images import read_image
from trainer.datasets.layout import table_file
from trainer.datasets.loading import load
from trainer.datasets.tables import category_names, names_in
from trainer.datasets.validation import (
    check_rows,
    image_findings,
    report,
    row_findings,
    unmatched_images,
)

#: Parts whose labels come from other systems.
WEAK = ("weak", "weak_held")
#: Part of all rows if the dataset cannot be trained on and therefore is not split.
UNSPLIT = "unsplit"


@dataclass(frozen=True)
class Material:
    """A dataset to explore.

    Attributes:
        name: Name of the folder or stored version.
        rows: One row per product: `designation`, `description`, `text` (prepared), `code`,
            `part`, `has_text`, `image` (a reference for `read`, or empty), `image_bytes`.
        names: Name of each category that occurs, by code.
        official_share: Share of each category in official data, if known.
        read: Reads an image by its reference.
        checked: Rows covered by the check, with `code`, `category`, `image_name`, `image` and, for
            a folder, `line`.
        findings: Findings about these rows, except those about images.
        unmatched: Names of the images of a folder if no row has one of them.
    """

    name: str
    rows: pd.DataFrame
    names: dict[int, str]
    official_share: dict[int, float]
    read: Callable[[str], bytes]
    checked: pd.DataFrame
    findings: tuple[Finding, ...]
    unmatched: Collection[str] = ()

    @property
    def labelled(self) -> pd.DataFrame:
        """Rows labelled by people."""
        return self.rows[~self.rows["part"].isin(WEAK)]

    @property
    def lines(self) -> pd.Series | None:
        """Lines of the file by row number; `None` for a version or if rows were renumbered."""
        if "line" not in self.checked or not self.labelled.index.equals(self.checked.index):
            return None
        return self.checked["line"]

    def label(self, code: int) -> str:
        """Return a category's name for a person, with its code unless that was made for it."""
        name = self.names.get(code, str(code))
        return name if name == str(code) or code >= FIRST_MADE_CODE else f"{code} · {name}"

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with category labels instead of codes as its index."""
        return table.set_axis([self.label(code) for code in table.index], axis="index")

    def report(self, unreadable: frozenset[str] = frozenset()) -> DatasetReport:
        """Return all findings of the dataset.

        Args:
            unreadable: References of images that cannot be read.
        """
        broken = self.checked.index[self.checked["image"].isin(unreadable)]
        of_images = image_findings(self.checked, broken, self.unmatched)
        return report(self.checked, [*self.findings, *of_images])


def read_material(folder: Path, *, seed: int = 0) -> Material:
    """Read a dataset, even if it cannot be trained on.

    Args:
        folder: Folder of files, or `name@version` of a stored version.
        seed: Seed of the split, as in `trainer.datasets.loading.load`.

    Raises:
        InvalidInput: A file is missing or cannot be read.
        NotFound: There is no such version.
    """
    if "@" in folder.name and not folder.exists():
        return _stored_material(str(folder), load(folder, seed=seed))
    checked, findings = check_rows(folder)
    names, share = category_names(table_file(folder, "categories.csv"))
    names = names_in(checked) | names
    rows = checked.assign(part=UNSPLIT)
    try:
        rows = load(folder, seed=seed).rows
    except InvalidInput as fault:
        if all(finding.severity != "error" for finding in findings):
            findings.append(error("not_trainable", fault.detail))
    return Material(
        name=folder.resolve().name,
        rows=_with_text(rows),
        names={code: names.get(code, str(code)) for code in _codes(rows)},
        official_share=share,
        read=read_image,
        checked=checked[["code", "category", "image_name", "image", "line"]],
        findings=tuple(findings),
        unmatched=unmatched_images(folder, checked),
    )


def _stored_material(name: str, data: Dataset) -> Material:
    names = {category.code: category.name for category in data.categories.categories}
    checked = data.rows.assign(image_name=data.rows["image"], category=data.rows["code"].map(names))
    # Rows of a version go by their ids, which are unique.
    checked = checked.set_index("id").assign(id="")
    return Material(
        name=name,
        rows=_with_text(data.rows),
        names=names,
        official_share=data.official_share,
        read=data.read_image,
        checked=checked[["code", "category", "image_name", "image"]],
        findings=tuple(row_findings(checked, data.categories.codes)),
    )


def _codes(rows: pd.DataFrame) -> list[int]:
    return sorted(int(code) for code in rows["code"].unique())


def _with_text(rows: pd.DataFrame) -> pd.DataFrame:
    texts = [
        product_text(title, description)
        for title, description in zip(rows["designation"], rows["description"], strict=True)
    ]
    return rows.assign(text=pd.Series(texts, rows.index, dtype=str))
