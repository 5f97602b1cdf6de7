"""Reads a dataset's CSV files: commas or semicolons, with or without row numbers and BOM."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from shared.errors import InvalidInput
from trainer.datasets.findings import Finding, error

#: Headings of a first column that contains row numbers.
INDEX_NAMES = ("", "index")
#: Integers that fit the database, also in the spreadsheet form `10.0`.
_WHOLE = r"\s*[+-]?\d{1,9}(?:\.0*)?\s*"
#: Limit of categories. A network has an output for each, and more than this usually means that
#: the labels are product ids.
MAX_CODES = 5_000


@dataclass(frozen=True)
class Table:
    """Content of a CSV file: every cell is a string, an empty cell is `""`.

    Attributes:
        name: File name.
        frame: Rows, indexed by the file's row numbers; from 0 if it has none.
        has_index: True if the file has row numbers.
    """

    name: str
    frame: pd.DataFrame
    has_index: bool

    @property
    def duplicate_numbers(self) -> pd.Index:
        """Repeated row numbers, each occurrence after the first."""
        return self.frame.index[self.frame.index.duplicated()]


def read_table(path: Path, columns: tuple[str, ...] = ()) -> Table:
    """Read a CSV file in UTF-8, separated by commas or semicolons.

    Raises:
        InvalidInput: The file is missing, is not a CSV file or lacks one of the columns.
    """
    header, separator = _header(path)
    has_index = bool(header) and header[0].strip() in INDEX_NAMES
    missing = [column for column in columns if column not in header]
    if missing:
        raise InvalidInput(f"Expected the columns {missing} in {path.name}. Received: {header}")
    try:
        frame = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise InvalidInput(f"Expected {path.name} to be CSV in UTF-8. Received: {fault}") from fault
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas silently turns surplus leading columns into the index.
        raise InvalidInput(
            f"Expected {len(header)} columns in each row of {path.name}. Received: more"
        )
    frame.columns = pd.Index(header)
    if has_index:
        frame = frame.set_index(header[0])
        frame.index = _numbers(frame.index)
    return Table(path.name, frame.rename_axis(None), has_index)


def require_unique_numbers(table: Table) -> pd.DataFrame:
    """Return a table's rows. Raises `InvalidInput` if row numbers repeat."""
    if len(table.duplicate_numbers):
        raise InvalidInput(_duplicate_message(table))
    return table.frame


def labelled(products: Table, labels: Table | None) -> tuple[pd.DataFrame, list[Finding]]:
    """Join products and labels, and report mismatches.

    Args:
        products: Table with `designation` and optionally `description`, `image` or `productid`
            and `imageid`, `id` and `prdtypecode`.
        labels: Table with `prdtypecode`, matched by row number, or by order if a file has no row
            numbers; `None` if the products contain the labels.

    Returns:
        The labelled rows, with `designation`, `description`, `id` and `image_name` (empty if
        absent), `code` and `has_text`; and the findings.
    """
    findings: list[Finding] = []
    findings += [
        error("duplicate_ids", _duplicate_message(table), table.duplicate_numbers)
        for table in (products, labels)
        if table is not None and len(table.duplicate_numbers)
    ]
    if findings:
        return _normalized(products.frame.iloc[:0]).assign(code=np.int64(0)), findings
    codes = _codes_of(products, labels, findings)
    rows = _normalized(products.frame.loc[codes.index])
    whole = codes.str.fullmatch(_WHOLE).astype(bool)
    if not whole.all():
        invalid = codes[~whole]
        findings.append(
            error(
                "labels_not_integers",
                f"Expected whole numbers as `prdtypecode` in {(labels or products).name}. "
                f"Received: {invalid.iloc[0]!r} in row {invalid.index[0]}, {len(invalid)} in total",
                invalid.index,
            )
        )
    rows = rows[whole.to_numpy()].copy()
    rows["code"] = codes[whole].str.strip().str.replace(r"\.0*$", "", regex=True).astype("int64")
    return rows, findings + too_many_categories(rows["code"])


def too_few_categories(codes: pd.Series, rows: pd.Index | None = None) -> list[Finding]:
    """Return an error if there are fewer than two categories, else nothing."""
    count = codes.nunique()
    if count >= 2:
        return []
    text = "Expected rows of two or more categories. Received: "
    found = f"{len(codes)} rows of {count}"
    return [error("too_few_classes", text + found, () if rows is None else rows)]


def too_many_categories(codes: pd.Series) -> list[Finding]:
    """Return an error if there are more than `MAX_CODES` categories, else nothing."""
    count = codes.nunique()
    if count <= MAX_CODES:
        return []
    text = f"Expected at most {MAX_CODES} categories. Received: {count} in {len(codes)} rows"
    return [error("too_many_classes", f"{text}. Does `prdtypecode` contain product ids?")]


def category_names(path: Path) -> tuple[dict[int, str], dict[int, float]]:
    """Read category names and official shares by code; empty without such a file or column.

    Raises:
        InvalidInput: The file has no codes, or codes or shares that are not numbers.
    """
    if not path.exists():
        return {}, {}
    frame = read_table(path).frame
    code = next((name for name in ("prdtypecode", "code") if name in frame), None)
    if code is None:
        raise InvalidInput(
            f"Expected a column `prdtypecode` or `code` in {path.name}. Received: {[*frame]}"
        )
    label = next((name for name in ("category", "name") if name in frame), code)
    try:
        codes = frame[code].astype("int64")
        shares = frame["official_share"].astype(float) if "official_share" in frame else None
    except ValueError as fault:
        raise InvalidInput(f"Expected numbers in {path.name}. Received: {fault}") from fault
    names = dict(zip((int(value) for value in codes), frame[label], strict=True))
    if shares is None:
        return names, {}
    return names, dict(zip(names, shares.tolist(), strict=True))


def _codes_of(products: Table, labels: Table | None, findings: list[Finding]) -> pd.Series:
    """Return the labels as written, indexed by the products' row numbers."""
    source = products if labels is None else labels
    if "prdtypecode" not in source.frame:
        findings.append(
            error(
                "no_labels",
                f"Expected a column `prdtypecode` in {source.name}. "
                f"Received: {[*source.frame.columns]}",
            )
        )
        return pd.Series([], dtype=str, index=products.frame.index[:0])
    codes = source.frame["prdtypecode"]
    if labels is None:
        return codes
    product_rows, label_rows = products.frame.index, codes.index
    if len(product_rows) == len(label_rows) and not (products.has_index and labels.has_index):
        return codes.set_axis(product_rows)
    unmatched = product_rows.symmetric_difference(label_rows)
    if len(unmatched):
        findings.append(
            error(
                "lengths_differ",
                f"Expected the same rows in {products.name} and {labels.name}. "
                f"Received: {len(product_rows)} and {len(label_rows)} rows, not in both: "
                f"{unmatched[:5].tolist()}",
                unmatched,
            )
        )
    return codes.loc[product_rows.intersection(label_rows, sort=False)]


def _normalized(frame: pd.DataFrame) -> pd.DataFrame:
    empty = pd.Series("", index=frame.index, dtype=str)
    ids = next((frame[name] for name in ("id", "productid") if name in frame), empty)
    designation = frame.get("designation", empty)
    description = frame.get("description", empty)
    return pd.DataFrame(
        {
            "designation": designation,
            "description": description,
            "id": ids.str.strip(),
            "image_name": _image_names(frame, empty),
            "has_text": (designation.str.strip() != "") | (description.str.strip() != ""),
        },
        index=frame.index,
    )


def _image_names(frame: pd.DataFrame, empty: pd.Series) -> pd.Series:
    if "image" in frame:
        return frame["image"].str.strip()
    if "imageid" not in frame or "productid" not in frame:
        return empty
    image, product = frame["imageid"].str.strip(), frame["productid"].str.strip()
    return ("image_" + image + "_product_" + product + ".jpg").where(image != "", "")


def _header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except FileNotFoundError as fault:
        raise InvalidInput(f"Expected {path.name} in {path.parent.name}. Received: none") from fault
    except UnicodeDecodeError as fault:
        raise InvalidInput(f"Expected {path.name} to be CSV in UTF-8. Received: {fault}") from fault
    separator = ";" if line.count(";") > line.count(",") else ","
    names = next(csv.reader([line], delimiter=separator), [])
    return [name.strip() for name in names], separator


def _numbers(index: pd.Index) -> pd.Index:
    try:
        return index.astype("int64")
    except (ValueError, OverflowError):
        return index


def _duplicate_message(table: Table) -> str:
    number = table.duplicate_numbers[0]
    return f"Expected unique row numbers in {table.name}. Received: {number!r} more than once"
