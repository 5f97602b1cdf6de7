"""Checks a dataset before training and reports all findings."""

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
    on_progress: Callable[[int], None] = lambda _done: None,
) -> DatasetReport:
    """Check a folder that `trainer.datasets.loading.load` reads; invalid content never raises.

    Args:
        folder: Folder in the challenge's layout or the simple one.
        categories: Allowed codes; by default those of `categories.csv`, or any without that file.
        deep: Decode each image; otherwise only headers are read.
        on_progress: Called after each image with the number of images checked.
    """
    try:
        rows, findings = check_rows(folder, categories)
    except InvalidInput as fault:
        return DatasetReport(findings=(error("unreadable_file", fault.detail),))
    broken = [
        number
        for done, (number, reference) in enumerate(_images(rows), start=1)
        if not _check_image(reference, deep, done, on_progress)
    ]
    return report(rows, [*findings, *image_findings(rows, pd.Index(broken))])


def check_rows(
    folder: Path, categories: Collection[int] | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Read a folder's labelled rows and report all findings except those about images.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    rows, findings = labelled_rows(folder)
    known = categories or category_names(folder / "categories.csv")[0]
    return rows, [*findings, *row_findings(rows, known), *_weak_findings(folder, rows)]


def report(rows: pd.DataFrame, findings: list[Finding]) -> DatasetReport:
    """Summarize rows and their findings."""
    return DatasetReport(
        rows=len(rows),
        classes=rows["code"].nunique(),
        images=int((rows["image"] != "").sum()),
        findings=tuple(findings),
    )


def row_findings(rows: pd.DataFrame, known: Collection[int]) -> list[Finding]:
    """Return warnings about texts, ids and labels.

    Args:
        rows: Rows as returned by `trainer.datasets.tables.labelled`.
        known: Allowed codes; any if empty.
    """
    sizes = rows["code"].map(rows["code"].value_counts())
    checks = [
        (
            "unknown_codes",
            "Labels are not among the known categories",
            ~rows["code"].isin(list(known)) if known else sizes < 0,
        ),
        (
            "duplicate_ids",
            "Product ids occur more than once",
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
            "Categories have a single row: it is trained on, but the result cannot be measured",
            sizes == 1,
        ),
    ]
    found = [warning(code, text, rows.index[mask]) for code, text, mask in checks if mask.any()]
    return found + _duplicate_findings(rows)


def image_findings(rows: pd.DataFrame, broken: pd.Index) -> list[Finding]:
    """Return warnings about images; without any image only text models are trained.

    Args:
        rows: Rows with `image` and `image_name`.
        broken: Index of the rows whose image cannot be read.
    """
    has_image = rows["image"] != ""
    missing = rows.index[(rows["image_name"] != "") & ~has_image]
    if not has_image.any():
        return [warning("no_pictures", "No product has an image: only text models are trained")]
    found: list[Finding] = []
    if len(missing):
        found.append(warning("missing_pictures", "Images are missing", missing))
    if len(broken) == has_image.sum():
        text = "No image can be read: only text models are trained"
        found.append(warning("no_readable_pictures", text, broken))
    elif len(broken):
        found.append(warning("unreadable_pictures", "Image files are broken or not images", broken))
    return found


def run_check(folder: Path, *, deep: bool = False) -> int:
    """Check a folder and print the report; return the exit code, 1 if there are errors."""
    found = check(folder, deep=deep)
    print("\n".join(found.lines()))  # noqa: T201 - the output of the command
    return 0 if found.is_trainable else 1


def _images(rows: pd.DataFrame) -> list[tuple[int | str, str]]:
    references = rows.loc[rows["image"] != "", "image"]
    return list(zip(references.index, references, strict=True))


def _check_image(reference: str, deep: bool, done: int, on_progress: Callable[[int], None]) -> bool:
    on_progress(done)
    return is_readable(reference, deep=deep)


def _weak_findings(folder: Path, rows: pd.DataFrame) -> list[Finding]:
    weak = weak_rows(folder)
    if weak is None:
        return []
    unknown = weak.index[~weak["code"].isin(rows["code"].unique())]
    if not len(unknown):
        return []
    text = "Weak labels have codes that no labelled row has: these rows are ignored"
    return [warning("unknown_weak_codes", text, unknown)]


def _duplicate_findings(rows: pd.DataFrame) -> list[Finding]:
    """Return warnings about repeated products and about contradicting labels."""
    texts = rows[rows["has_text"]]
    key = texts["designation"].str.strip() + "\0" + texts["description"].str.strip()
    is_repeated = key.duplicated(keep=False)
    key, codes = key[is_repeated], texts.loc[is_repeated, "code"]
    contradicts = codes.groupby(key).transform("nunique") > 1
    found: list[Finding] = []
    if contradicts.any():
        text = "Products with the same text have different labels"
        found.append(warning("contradicting_labels", text, contradicts.index[contradicts]))
    same = key[~contradicts]
    copies = same.index[same.duplicated()]
    if len(copies):
        text = "Products repeat the text and label of another"
        found.append(warning("duplicate_products", text, copies))
    return found
