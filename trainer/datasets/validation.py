"""Checks a dataset before training and reports all findings."""

from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from shared.categories import CategorySet
from shared.errors import InvalidInput
from trainer.datasets.findings import DatasetReport, Finding, error, warning
from trainer.datasets.folder import labelled_rows, weak_rows
from trainer.datasets.images import images_in, is_readable
from trainer.datasets.labels import categories_of, separator_of
from trainer.datasets.layout import table_file
from trainer.datasets.tables import category_names, names_in
from trainer.datasets.tree import inner_labels, levels_of

#: Categories that a message names.
NAMED = 5
#: Findings that name categories.
_ABOUT_CATEGORIES = ("unknown_codes", "single_row_classes")


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
        images = unmatched_images(folder, rows)
    except InvalidInput as fault:
        return DatasetReport(findings=(error("unreadable_file", fault.detail),))
    broken = [
        number
        for done, (number, reference) in enumerate(_images(rows), start=1)
        if not _check_image(reference, deep, done, on_progress)
    ]
    return report(rows, [*findings, *image_findings(rows, pd.Index(broken), images)])


def check_rows(
    folder: Path, categories: Collection[int] | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Read a folder's labelled rows and report all findings except those about images.

    Raises:
        InvalidInput: A file is missing or cannot be read.
    """
    rows, findings = labelled_rows(folder)
    known = categories or category_names(table_file(folder, "categories.csv"))[0]
    return rows, [*findings, *row_findings(rows, known), *_weak_findings(folder, rows)]


def unmatched_images(folder: Path, rows: pd.DataFrame) -> Collection[str]:
    """Return the names of a folder's images if no row has one of them, else nothing.

    Raises:
        InvalidInput: An archive cannot be read, or is not safe to read.
    """
    return () if (rows["image"] != "").any() else [*images_in(folder, "image_train")]


def report(rows: pd.DataFrame, findings: list[Finding]) -> DatasetReport:
    """Summarize rows and their findings.

    Args:
        rows: Rows with `code`, `category` and `image`.
        findings: Findings about them.
    """
    categories = category_set(rows)
    names = [one.name for one in categories.categories] if categories else []
    return DatasetReport(
        rows=len(rows),
        classes=rows["code"].nunique(),
        images=int((rows["image"] != "").sum()),
        findings=tuple(findings),
        separator=separator_of(names),
        levels=levels_of(rows["code"], categories) if categories else (),
    )


def row_findings(rows: pd.DataFrame, known: Collection[int] = ()) -> list[Finding]:
    """Return warnings about texts, ids and labels.

    Args:
        rows: Rows as returned by `trainer.datasets.tables.labelled`; those of a version have no
            `line`, and their ids as index.
        known: Allowed codes; any if empty.
    """
    sizes = rows["code"].map(rows["code"].value_counts())
    lines = rows.get("line")
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
    found = [
        warning(
            code,
            text + (named_categories(rows[mask]) if code in _ABOUT_CATEGORIES else ""),
            rows.index[mask],
            lines,
        )
        for code, text, mask in checks
        if mask.any()
    ]
    categories = category_set(rows)
    found += inner_labels(rows, categories, lines) if categories else []
    return found + _duplicate_findings(rows, lines)


def category_set(rows: pd.DataFrame) -> CategorySet | None:
    """Return the categories of rows with their names; `None` if there are fewer than two."""
    codes = sorted(int(code) for code in rows["code"].unique())
    return categories_of(codes, names_in(rows)) if len(codes) > 1 else None


def image_findings(
    rows: pd.DataFrame, broken: pd.Index, unmatched: Collection[str] = ()
) -> list[Finding]:
    """Return warnings about images; without any image only text models are trained.

    Args:
        rows: Rows with `image` and `image_name`.
        broken: Index of the rows whose image cannot be read.
        unmatched: Names of the images that were sent, if no row has an image.
    """
    has_image = rows["image"] != ""
    missing = rows.index[(rows["image_name"] != "") & ~has_image]
    lines = rows.get("line")
    if not has_image.any():
        return [_no_images(rows.loc[missing, "image_name"], unmatched, lines)]
    found: list[Finding] = []
    if len(missing):
        example = str(rows["image_name"].loc[missing[0]])
        text = f"Images are missing, such as {example!r}"
        found.append(warning("missing_pictures", text, missing, lines))
    if len(broken) == has_image.sum():
        text = "No image can be read: only text models are trained"
        found.append(warning("no_readable_pictures", text, broken, lines))
    elif len(broken):
        text = "Image files are broken or not images"
        found.append(warning("unreadable_pictures", text, broken, lines))
    return found


def _no_images(named: pd.Series, unmatched: Collection[str], lines: pd.Series | None) -> Finding:
    """Return the reason why no row has an image."""
    text = "No product has an image: only text models are trained"
    if not unmatched:
        return warning("no_pictures", text)
    example = next(iter(unmatched))
    if not len(named):
        reason = f"no row names one of the {len(unmatched)} images, such as {example!r}"
        return warning("no_pictures", f"{text}; {reason}. Expected a column `image` of their names")
    first = str(named.iloc[0])
    reason = f"{first!r} is none of the {len(unmatched)} images, such as {example!r}"
    return warning("no_pictures", f"{text}; {reason}", named.index, lines)


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
    weak = weak_rows(folder, names_in(rows))
    if weak is None:
        return []
    unknown = weak.index[~weak["code"].isin(rows["code"].unique())]
    if not len(unknown):
        return []
    text = "Weak labels have codes that no labelled row has: these rows are ignored"
    return [warning("unknown_weak_codes", text, unknown, weak["line"])]


def _duplicate_findings(rows: pd.DataFrame, lines: pd.Series | None) -> list[Finding]:
    """Return warnings about repeated products and about contradicting labels."""
    texts = rows[rows["has_text"]]
    key = texts["designation"].str.strip() + "\0" + texts["description"].str.strip()
    is_repeated = key.duplicated(keep=False)
    key, codes = key[is_repeated], texts.loc[is_repeated, "code"]
    contradicts = codes.groupby(key).transform("nunique") > 1
    found: list[Finding] = []
    if contradicts.any():
        at = contradicts.index[contradicts]
        text = f"Products with the same text have different labels{named_categories(rows.loc[at])}"
        found.append(warning("contradicting_labels", text, at, lines))
    same = key[~contradicts]
    copies = same.index[same.duplicated()]
    if len(copies):
        text = "Products repeat the text and label of another"
        found.append(warning("duplicate_products", text, copies, lines))
    return found


def named_categories(rows: pd.DataFrame) -> str:
    """Return the names of the categories of rows, for the end of a message."""
    codes = list(dict.fromkeys(rows["code"]))
    names = names_in(rows)
    quoted = ", ".join(repr(names.get(code, str(code))) for code in codes[:NAMED])
    return f": {quoted}{', …' if len(codes) > NAMED else ''}"
