"""Reads a dataset's tables, whose rows that cannot be read become findings."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.readable import readable
from shared.tables.dataset_tables import (
    CATEGORIES,
    CODE,
    NAMES,
    PRODUCTS,
    dataset_form,
    has_row_numbers,
)
from shared.tables.form import Form
from shared.tables.rows import rows_of
from trainer.datasets.findings import ROWS_NAMED, Finding, error, warning

#: Integers that fit the database, also in the spreadsheet form `10.0`.
_WHOLE = r"\s*[+-]?\d{1,9}(?:\.0*)?\s*"
#: Limit of categories. A network has an output for each, and more than this usually means that
#: the labels are product ids.
MAX_CODES = 5_000


@dataclass(frozen=True)
class Malformed:
    """A row that cannot be read: its number, `None` if unknown, the line, and the reason."""

    number: int | str | None
    line: int
    reason: str


@dataclass(frozen=True)
class Table:
    """Content of a file: every cell is a string, an empty cell is `""`.

    Attributes:
        name: File name.
        frame: Rows, indexed by the file's row numbers; by position if it has none.
        has_index: True if the file has row numbers.
        columns: Columns as in the file.
        positions: Position of each row of `frame` in the file, from 0.
        malformed: Rows of the file that are not in `frame`.
    """

    name: str
    frame: pd.DataFrame
    has_index: bool
    columns: tuple[str, ...]
    positions: NDArray[np.int64]
    malformed: tuple[Malformed, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows in the file."""
        return len(self.frame) + len(self.malformed)

    @property
    def duplicate_numbers(self) -> pd.Index:
        """Repeated row numbers, each occurrence after the first."""
        return self.frame.index[self.frame.index.duplicated()]

    @property
    def findings(self) -> list[Finding]:
        """A warning about the rows that cannot be read, if there are any."""
        if not self.malformed:
            return []
        named = self.malformed[:ROWS_NAMED]
        reasons = "; ".join(f"line {one.line}: {one.reason}" for one in named)
        text = f"Rows of {self.name} cannot be read and are left out: {reasons}"
        numbers = [f"line {m.line}" if m.number is None else m.number for m in self.malformed]
        return [warning("malformed_rows", text, numbers)]


def read_table(path: Path, table: str = PRODUCTS) -> Table:
    """Read a table in any form that catalogs may have.

    Args:
        path: The file.
        table: Key of `shared.tables.dataset_tables.NAMES`.

    Raises:
        InvalidInput: The file is missing, is not a table or lacks a column.
    """
    try:
        with path.open("rb") as stream, ExitStack() as files:
            plain, form = dataset_form(stream, table, files)
            return _table(path.name, plain, form, table)
    except FileNotFoundError as fault:
        raise InvalidInput(f"Expected {path.name} in {path.parent.name}. Received: none") from fault
    except InvalidInput as fault:
        raise InvalidInput(f"{path.name}: {fault.detail}") from fault


def _table(name: str, stream: BinaryIO, form: Form, table: str) -> Table:
    fields = _fields(form, table)
    has_index = has_row_numbers(form)
    malformed: list[Malformed] = []
    cells: list[list[str]] = []
    positions: list[int] = []
    numbers: list[str] = []
    for row in rows_of(stream, form, NAMES[table]):
        number = next(iter(row.values_of(form)), "") if has_index else ""
        if row.problem is not None:
            known = _number(number) if has_index else row.number - 1
            malformed.append(Malformed(known, row.line, row.problem.reason))
            continue
        cells.append([row.get(field) for field in fields])
        positions.append(row.number - 1)
        numbers.append(number)
    if malformed and not cells:
        one = malformed[0]
        raise InvalidInput(f"Expected rows that can be read. Line {one.line}: {one.reason}")
    frame = pd.DataFrame(cells, columns=fields, dtype=str)
    if has_index:
        frame.index = _numbers(pd.Index(numbers))
    elif malformed:
        frame.index = pd.Index(positions, dtype="int64")
    places = np.array(positions, np.int64)
    return Table(name, frame, has_index, form.columns, places, tuple(malformed))


def _fields(form: Form, table: str) -> list[str]:
    """Return the fields of a table in the order of its columns."""
    if form.dialect is None:
        # A key may occur for the first time in any row.
        return [*NAMES[table]]
    return sorted(form.fields, key=lambda field: form.fields[field])


def require_unique_numbers(table: Table) -> pd.DataFrame:
    """Return a table's rows. Raises `InvalidInput` if row numbers repeat."""
    if len(table.duplicate_numbers):
        raise InvalidInput(_duplicate_message(table))
    return table.frame


def labelled(products: Table, labels: Table | None) -> tuple[pd.DataFrame, list[Finding]]:
    """Join products and labels, and report mismatches.

    Args:
        products: Table with some of `designation`, `description`, `image` or `productid` and
            `imageid`, `id` and `prdtypecode`.
        labels: Table with `prdtypecode`, matched by row number, or by order if a file has no row
            numbers; `None` if the products contain the labels.

    Returns:
        The labelled rows, with `designation`, `description`, `id` and `image_name` (empty if
        absent), `code` and `has_text`; and the findings.
    """
    sources = [products] if labels is None else [products, labels]
    findings = [
        error("duplicate_ids", _duplicate_message(table), table.duplicate_numbers)
        for table in sources
        if len(table.duplicate_numbers)
    ]
    if findings:
        return _normalized(products.frame.iloc[:0]).assign(code=np.int64(0)), findings
    findings += [finding for table in sources for finding in table.findings]
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
    table = read_table(path, CATEGORIES)
    frame = table.frame
    for one in table.malformed:
        raise InvalidInput(f"{path.name}, line {one.line}: {one.reason}")
    label = "category" if "category" in frame else CODE
    try:
        codes = frame[CODE].astype("int64")
        has_shares = "official_share" in frame and frame["official_share"].any()
        shares = frame["official_share"].astype(float) if has_shares else None
    except ValueError as fault:
        raise InvalidInput(f"Expected numbers in {path.name}. Received: {fault}") from fault
    names = dict(zip((int(value) for value in codes), frame[label], strict=True))
    if shares is None:
        return names, {}
    return names, dict(zip(names, shares.tolist(), strict=True))


def _codes_of(products: Table, labels: Table | None, findings: list[Finding]) -> pd.Series:
    """Return the labels as written, indexed by the products' row numbers."""
    source = products if labels is None else labels
    if CODE not in source.frame:
        text = f"Expected a column `{CODE}` in {source.name}. Received: {[*source.columns]}"
        findings.append(error("no_labels", text))
        return pd.Series([], dtype=str, index=products.frame.index[:0])
    codes = source.frame[CODE]
    if labels is None:
        return codes
    if products.rows == labels.rows and not (products.has_index and labels.has_index):
        in_order = codes.set_axis(labels.positions).reindex(products.positions)
        return in_order.set_axis(products.frame.index).dropna()
    product_rows, label_rows = products.frame.index, codes.index
    unmatched = product_rows.symmetric_difference(label_rows)
    malformed = [*products.malformed, *labels.malformed]
    unmatched = unmatched.difference([one.number for one in malformed if one.number is not None])
    if len(unmatched) > sum(one.number is None for one in malformed):
        findings.append(
            error(
                "lengths_differ",
                f"Expected the same rows in {products.name} and {labels.name}. "
                f"Received: {products.rows} and {labels.rows} rows, not in both: "
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
            "has_text": has_text(designation, description),
        },
        index=frame.index,
    )


def has_text(designations: pd.Series, descriptions: pd.Series) -> NDArray[np.bool_]:
    """Return a mask of the products with a title or description that a person can read."""
    pairs = zip(designations, descriptions, strict=True)
    return np.array([bool(readable(title) or readable(body)) for title, body in pairs], bool)


def _image_names(frame: pd.DataFrame, empty: pd.Series) -> pd.Series:
    if "image" in frame:
        return frame["image"].str.strip()
    if "imageid" not in frame or "productid" not in frame:
        return empty
    image, product = frame["imageid"].str.strip(), frame["productid"].str.strip()
    return ("image_" + image + "_product_" + product + ".jpg").where(image != "", "")


def _number(cell: str) -> int | str | None:
    return (int(cell) if cell.isdecimal() else cell) if cell else None


def _numbers(index: pd.Index) -> pd.Index:
    try:
        return index.astype("int64")
    except (ValueError, OverflowError):
        return index


def _duplicate_message(table: Table) -> str:
    number = table.duplicate_numbers[0]
    return f"Expected unique row numbers in {table.name}. Received: {number!r} more than once"
