"""Reads a dataset's tables, whose rows that cannot be read become findings."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.readable import readable
from shared.tables.dataset_tables import (
    CATEGORIES,
    CATEGORY,
    CODE,
    NAMES,
    PRODUCTS,
    dataset_form,
    has_row_numbers,
)
from shared.tables.form import Form
from shared.tables.rows import rows_of
from trainer.datasets.findings import ROWS_NAMED, Finding, error, warning
from trainer.datasets.labels import Labels, names_beside, read_labels

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
        lines: Line of the file, from 1, on which each row of `frame` begins.
        malformed: Rows of the file that are not in `frame`.
        used: Column of each field.
    """

    name: str
    frame: pd.DataFrame
    has_index: bool
    columns: tuple[str, ...]
    positions: NDArray[np.int64]
    lines: pd.Series
    malformed: tuple[Malformed, ...] = ()
    used: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows in the file."""
        return len(self.frame) + len(self.malformed)

    @property
    def duplicate_numbers(self) -> pd.Index:
        """Repeated row numbers, each occurrence after the first."""
        return self.frame.index[self.frame.index.duplicated()]

    @property
    def duplicates(self) -> Finding:
        """An error about repeated row numbers."""
        repeated = self.duplicate_numbers
        last = self.lines[~self.lines.index.duplicated(keep="last")]
        return error("duplicate_ids", _duplicate_message(self), repeated, last)

    @property
    def findings(self) -> list[Finding]:
        """A warning about the rows that cannot be read, if there are any."""
        if not self.malformed:
            return []
        named = self.malformed[:ROWS_NAMED]
        reasons = "; ".join(f"line {one.line}: {one.reason}" for one in named)
        text = f"Rows of {self.name} cannot be read and are left out: {reasons}"
        numbers = [f"line {m.line}" if m.number is None else m.number for m in self.malformed]
        lines = dict(zip(numbers, (one.line for one in self.malformed), strict=True))
        return [warning("malformed_rows", text, numbers, lines)]


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
    lines: list[int] = []
    numbers: list[str] = []
    for row in rows_of(stream, form, NAMES[table]):
        number = next(iter(row.values_of(form)), "") if has_index else ""
        if row.problem is not None:
            known = _number(number) if has_index else row.number - 1
            malformed.append(Malformed(known, row.line, row.problem.reason))
            continue
        cells.append([row.get(field) for field in fields])
        positions.append(row.number - 1)
        lines.append(row.line)
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
    begins = pd.Series(lines, frame.index, dtype="int64")
    return Table(name, frame, has_index, form.columns, places, begins, tuple(malformed), form.used)


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


def labelled(
    products: Table, labels: Table | None, known: Mapping[int, str] | None = None
) -> tuple[pd.DataFrame, list[Finding]]:
    """Join products and labels, and report mismatches.

    Args:
        products: Table with some of `designation`, `description`, `image` or `productid` and
            `imageid`, `id`, and `prdtypecode` or `category`.
        labels: Table with `prdtypecode` or `category`, matched by row number, or by order if a
            file has no row numbers; `None` if the products contain the labels.
        known: Names of categories by code, which labels may be.

    Returns:
        The labelled rows, with `designation`, `description`, `id` and `image_name` (empty if
        absent), `code`, `category` (its name, empty if the files have none), `has_text` and
        `line`; and the findings.
    """
    sources = [products] if labels is None else [products, labels]
    findings = [table.duplicates for table in sources if len(table.duplicate_numbers)]
    if findings:
        nothing = _normalized(products.frame.iloc[:0], products.lines)
        return nothing.assign(code=np.int64(0), category=""), findings
    findings += [finding for table in sources for finding in table.findings]
    found = _labels_of(products, labels, known or {}, findings)
    rows = _normalized(products.frame.loc[found.codes.index], products.lines)
    rows["code"] = found.codes
    of_code = found.names | dict(known or {})
    names = [of_code.get(code, "") for code in found.codes.tolist()]
    rows["category"] = pd.Series(names, rows.index, dtype=str)
    findings += found.findings
    return rows, findings + too_many_categories(rows["code"])


def names_in(rows: pd.DataFrame) -> dict[int, str]:
    """Return the names of categories that labelled rows have, by code."""
    named = rows.loc[rows["category"] != "", ["code", "category"]].drop_duplicates("code")
    return {int(code): str(name) for code, name in named.itertuples(index=False)}


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
    label = CATEGORY if CATEGORY in frame else CODE
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


def _labels_of(
    products: Table, labels: Table | None, known: Mapping[int, str], findings: list[Finding]
) -> Labels:
    """Return the labels by the products' row numbers."""
    source = products if labels is None else labels
    field = _label_field(source.frame)
    if field is None:
        text = f"Expected a column `{CODE}` or `{CATEGORY}` in {source.name}. Received: "
        findings.append(error("no_labels", f"{text}{[*source.columns]}"))
        return Labels(pd.Series([], dtype="int64", index=products.frame.index[:0]), {})
    cells, lines = source.frame[field], source.lines
    if labels is not None:
        matching = _matching(products, labels, findings)
        cells = cells.iloc[matching].set_axis(matching.index)
        lines = lines.iloc[matching].set_axis(matching.index)
    found = read_labels(cells, known, source.name, source.used.get(field, field), lines)
    if field == CODE and CATEGORY in source.frame:
        names = source.frame[CATEGORY].loc[found.codes.index] if labels is None else None
        beside = {} if names is None else names_beside(found.codes, names)
        return Labels(found.codes, found.names | beside, found.findings)
    return found


def _label_field(frame: pd.DataFrame) -> str | None:
    """Return the field of the labels: the first one that has any, or that is there."""
    there = [field for field in (CODE, CATEGORY) if field in frame]
    return next(
        (one for one in there if (frame[one].str.strip() != "").any()), next(iter(there), None)
    )


def _matching(products: Table, labels: Table, findings: list[Finding]) -> pd.Series:
    """Return the position in the labels of each labelled product, by its row number."""
    positions = pd.Series(np.arange(len(labels.frame)), labels.frame.index)
    if products.rows == labels.rows and not (products.has_index and labels.has_index):
        in_order = positions.set_axis(labels.positions).reindex(products.positions)
        return in_order.set_axis(products.frame.index).dropna().astype(np.int64)
    product_rows, label_rows = products.frame.index, positions.index
    unmatched = product_rows.symmetric_difference(label_rows)
    malformed = [*products.malformed, *labels.malformed]
    unmatched = unmatched.difference([one.number for one in malformed if one.number is not None])
    if len(unmatched) > sum(one.number is None for one in malformed):
        lines = {**labels.lines.to_dict(), **products.lines.to_dict()}
        findings.append(
            error(
                "lengths_differ",
                f"Expected the same rows in {products.name} and {labels.name}. "
                f"Received: {products.rows} and {labels.rows} rows, not in both: "
                f"{unmatched[:5].tolist()}",
                unmatched,
                lines,
            )
        )
    return positions.loc[product_rows.intersection(label_rows, sort=False)]


def _normalized(frame: pd.DataFrame, lines: pd.Series) -> pd.DataFrame:
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
            "line": lines.loc[frame.index],
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
    lines = table.lines[table.lines.index == number]
    return (
        f"Expected unique row numbers in {table.name}. Received: {number!r} more than once, in the "
        f"lines {lines.iloc[0]} and {lines.iloc[1]}"
    )
