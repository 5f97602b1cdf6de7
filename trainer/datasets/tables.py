"""Reads the CSV files of a dataset as they come: with or without index, BOM, other separators."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from shared.errors import InvalidInput
from trainer.datasets.findings import Finding, error

#: What the first column is called where it numbers the rows: nothing, or this.
INDEX_NAMES = ("", "index")
#: Whole numbers that fit the database, also as a spreadsheet writes them: `10.0`.
_WHOLE = r"\s*[+-]?\d{1,9}(?:\.0*)?\s*"
#: Categories that can be told apart by rows as a shop has them; a network has a column for each.
MAX_CODES = 5_000


@dataclass(frozen=True)
class Table:
    """A CSV file: every cell a string, an empty one `""`.

    Attributes:
        name: Of the file.
        frame: By the file's own row numbers; from 0 on where it has none.
        has_index: Whether it has row numbers of its own.
    """

    name: str
    frame: pd.DataFrame
    has_index: bool

    @property
    def numbered_twice(self) -> pd.Index:
        """Row numbers that occur again."""
        return self.frame.index[self.frame.index.duplicated()]


def read_table(path: Path, columns: tuple[str, ...] = ()) -> Table:
    """Read a CSV file in UTF-8, with commas or semicolons.

    Raises:
        InvalidInput: It is not there, not a CSV file, or has not all of the columns.
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
        raise InvalidInput(f"{path.name} is not a CSV file in UTF-8: {fault}") from fault
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes what is too much for row numbers, without a word.
        raise InvalidInput(
            f"Expected {len(header)} columns in each row of {path.name}. Received: more"
        )
    frame.columns = pd.Index(header)
    if has_index:
        frame = frame.set_index(header[0])
        frame.index = _numbers(frame.index)
    return Table(path.name, frame.rename_axis(None), has_index)


def require_numbered_once(table: Table) -> pd.DataFrame:
    """The rows of a table whose row numbers are unique. Raises `InvalidInput`."""
    if len(table.numbered_twice):
        raise InvalidInput(_twice(table))
    return table.frame


def labelled(products: Table, labels: Table | None) -> tuple[pd.DataFrame, list[Finding]]:
    """Put products and labels together, and say what does not fit.

    Args:
        products: With `designation`; `description`, `image` or `productid` and `imageid`, `id`
            and `prdtypecode` where present.
        labels: With `prdtypecode`, by the same row numbers, or in the same order if it has none;
            `None` where the products have it.

    Returns:
        The rows that have a label, with `designation`, `description`, `id` (empty where there is
        none), `image_name` (empty where there is none), `code`, `has_text`; and findings.
    """
    findings: list[Finding] = []
    findings += [
        error("duplicate_ids", _twice(table), table.numbered_twice)
        for table in (products, labels)
        if table is not None and len(table.numbered_twice)
    ]
    if findings:
        return _normal(products.frame.iloc[:0]).assign(code=np.int64(0)), findings
    codes = _codes_of(products, labels, findings)
    rows = _normal(products.frame.loc[codes.index])
    whole = codes.str.fullmatch(_WHOLE).astype(bool)
    if not whole.all():
        bad = codes[~whole]
        findings.append(
            error(
                "labels_not_integers",
                f"Expected whole numbers as `prdtypecode` in {(labels or products).name}. "
                f"Received: {bad.iloc[0]!r} in row {bad.index[0]}, {len(bad)} in all",
                bad.index,
            )
        )
    rows = rows[whole.to_numpy()].copy()
    rows["code"] = codes[whole].str.strip().str.replace(r"\.0*$", "", regex=True).astype("int64")
    return rows, findings + too_many(rows["code"])


def too_many(codes: pd.Series) -> list[Finding]:
    """An error if there are more categories than anybody means; else none."""
    count = codes.nunique()
    if count <= MAX_CODES:
        return []
    text = f"Expected at most {MAX_CODES} categories. Received: {count} in {len(codes)} rows"
    return [error("too_many_classes", f"{text}. Is `prdtypecode` the product's id?")]


def category_names(path: Path) -> tuple[dict[int, str], dict[int, float]]:
    """Names and official shares by code; empty where there is no file or no such column.

    Raises:
        InvalidInput: The file has no codes, or codes or shares that are no numbers.
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
    names = dict(zip((int(one) for one in codes), frame[label], strict=True))
    if shares is None:
        return names, {}
    return names, dict(zip(names, shares.tolist(), strict=True))


def _codes_of(products: Table, labels: Table | None, findings: list[Finding]) -> pd.Series:
    """Labels as they are written, by the rows that have one."""
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
    ours, theirs = products.frame.index, codes.index
    if len(ours) == len(theirs) and not (products.has_index and labels.has_index):
        return codes.set_axis(ours)
    apart = ours.symmetric_difference(theirs)
    if len(apart):
        findings.append(
            error(
                "lengths_differ",
                f"Expected the same rows in {products.name} and {labels.name}. "
                f"Received: {len(ours)} and {len(theirs)} rows, not in both: "
                f"{apart[:5].tolist()}",
                apart,
            )
        )
    return codes.loc[ours.intersection(theirs, sort=False)]


def _normal(frame: pd.DataFrame) -> pd.DataFrame:
    nothing = pd.Series("", index=frame.index, dtype=str)
    ids = next((frame[name] for name in ("id", "productid") if name in frame), nothing)
    designation = frame.get("designation", nothing)
    description = frame.get("description", nothing)
    return pd.DataFrame(
        {
            "designation": designation,
            "description": description,
            "id": ids.str.strip(),
            "image_name": _image_names(frame, nothing),
            "has_text": (designation.str.strip() != "") | (description.str.strip() != ""),
        },
        index=frame.index,
    )


def _image_names(frame: pd.DataFrame, nothing: pd.Series) -> pd.Series:
    if "image" in frame:
        return frame["image"].str.strip()
    if "imageid" not in frame or "productid" not in frame:
        return nothing
    image, product = frame["imageid"].str.strip(), frame["productid"].str.strip()
    return ("image_" + image + "_product_" + product + ".jpg").where(image != "", "")


def _header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except FileNotFoundError as fault:
        raise InvalidInput(f"Expected {path.name} in {path.parent.name}. Received: none") from fault
    except UnicodeDecodeError as fault:
        raise InvalidInput(f"{path.name} is not a CSV file in UTF-8: {fault}") from fault
    separator = ";" if line.count(";") > line.count(",") else ","
    names = next(csv.reader([line], delimiter=separator), [])
    return [name.strip() for name in names], separator


def _numbers(index: pd.Index) -> pd.Index:
    try:
        return index.astype("int64")
    except (ValueError, OverflowError):
        return index


def _twice(table: Table) -> str:
    return f"Expected each index once in {table.name}. Received: {table.numbered_twice[0]!r} twice"
