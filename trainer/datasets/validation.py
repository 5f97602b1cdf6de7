"""Finds all that is wrong with a dataset, before anything is trained on it."""

from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from shared.errors import InvalidInput
from trainer.datasets.findings import DatasetReport, Finding, error, warning
from trainer.datasets.folder import labelled_rows, weak_rows
from trainer.datasets.images import is_readable
from trainer.datasets.tables import category_names


def check(
    folder: Path,
    *,
    categories: Collection[int] | None = None,
    deep: bool = False,
    tell: Callable[[int], None] = lambda _done: None,
) -> DatasetReport:
    """Check a folder that `trainer.datasets.loading.load` reads; never raises for what it holds.

    Args:
        folder: In the challenge's layout or the simple one.
        categories: The codes that are allowed; those of `categories.csv` where not given, and
            any where there is no such file.
        deep: Decode each image; otherwise only headers are read.
        tell: Called with the number of images looked at, after each.
    """
    try:
        rows, findings = check_rows(folder, categories)
    except InvalidInput as fault:
        return DatasetReport(findings=(error("unreadable_file", fault.detail),))
    broken = [
        number
        for done, (number, reference) in enumerate(_images(rows), start=1)
        if not _looked_at(reference, deep, done, tell)
    ]
    return report(rows, [*findings, *image_findings(rows, pd.Index(broken))])


def check_rows(
    folder: Path, categories: Collection[int] | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Read the labelled rows of a folder, and say all that is wrong but with their images.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    rows, findings = labelled_rows(folder)
    known = categories or category_names(folder / "categories.csv")[0]
    return rows, [*findings, *row_findings(rows, known), *_weak_findings(folder, rows)]


def report(rows: pd.DataFrame, findings: list[Finding]) -> DatasetReport:
    """Sum up what was found in some rows."""
    return DatasetReport(
        rows=len(rows),
        classes=rows["code"].nunique(),
        images=int((rows["image"] != "").sum()),
        findings=tuple(findings),
    )


def row_findings(rows: pd.DataFrame, known: Collection[int]) -> list[Finding]:
    """What is odd about texts, numbers and labels; nothing of it forbids training.

    Args:
        rows: As `trainer.datasets.tables.labelled` gives them.
        known: Codes that are allowed; any if empty.
    """
    sizes = rows["code"].map(rows["code"].value_counts())
    odd = [
        (
            "unknown_codes",
            "Labels are not among the known categories",
            ~rows["code"].isin(list(known)) if known else sizes < 0,
        ),
        (
            "duplicate_ids",
            "Product ids are there more than once",
            rows["id"].duplicated() & (rows["id"] != ""),
        ),
        (
            "empty_titles",
            "Products have no title",
            (rows["designation"].str.strip() == "") & rows["has_text"],
        ),
        (
            "empty_rows",
            "Products have neither text nor image",
            ~rows["has_text"] & (rows["image_name"] == ""),
        ),
        (
            "single_row_classes",
            "Categories have one row only: it is trained on, and nothing tells how well",
            sizes == 1,
        ),
    ]
    found = [warning(code, text, rows.index[mask]) for code, text, mask in odd if mask.any()]
    return found + _twins(rows)


def image_findings(rows: pd.DataFrame, broken: pd.Index) -> list[Finding]:
    """What is wrong with images; without any, texts alone are trained on.

    Args:
        rows: With `image`.
        broken: Rows whose image cannot be read.
    """
    has_image = rows["image"] != ""
    missing = rows.index[(rows["image_name"] != "") & ~has_image]
    if not has_image.any():
        return [warning("no_pictures", "There are no images at all: texts alone are trained on")]
    found: list[Finding] = []
    if len(missing):
        found.append(warning("missing_pictures", "Images are not there", missing))
    if len(broken) == has_image.sum():
        text = "No image can be read: texts alone are trained on"
        found.append(warning("no_readable_pictures", text, broken))
    elif len(broken):
        found.append(warning("unreadable_pictures", "Files are no images, or broken", broken))
    return found


def run_check(folder: Path, *, deep: bool = False) -> int:
    """Check a folder and print what is wrong; returns the exit code, 1 if there are errors."""
    found = check(folder, deep=deep)
    print("\n".join(found.lines()))  # noqa: T201 - it is what the command is for
    return 0 if found.is_trainable else 1


def _images(rows: pd.DataFrame) -> list[tuple[int | str, str]]:
    there = rows.loc[rows["image"] != "", "image"]
    return list(zip(there.index, there, strict=True))


def _looked_at(reference: str, deep: bool, done: int, tell: Callable[[int], None]) -> bool:
    tell(done)
    return is_readable(reference, deep=deep)


def _weak_findings(folder: Path, rows: pd.DataFrame) -> list[Finding]:
    weak = weak_rows(folder)
    if weak is None:
        return []
    unknown = weak.index[~weak["code"].isin(rows["code"].unique())]
    if not len(unknown):
        return []
    text = "Weak labels have codes that no labelled row has: those rows are left out"
    return [warning("unknown_weak_codes", text, unknown)]


def _twins(rows: pd.DataFrame) -> list[Finding]:
    """Products that are there twice, and those whose labels contradict each other."""
    texts = rows[rows["has_text"]]
    key = texts["designation"].str.strip() + "\0" + texts["description"].str.strip()
    again = key.duplicated(keep=False)
    key, codes = key[again], texts.loc[again, "code"]
    torn = codes.groupby(key).transform("nunique") > 1
    found: list[Finding] = []
    if torn.any():
        text = "Products with the same text have different labels"
        found.append(warning("contradicting_labels", text, torn.index[torn]))
    same = key[~torn]
    copies = same.index[same.duplicated()]
    if len(copies):
        text = "Products repeat the text and label of another"
        found.append(warning("duplicate_products", text, copies))
    return found
