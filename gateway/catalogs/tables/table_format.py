"""Detect the format of a table: its columns, its delimiter, CSV or JSON Lines."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from gateway.catalogs.tables.cells import (
    CHALLENGE_IMAGE_COLUMNS,
    PRODUCT_COLUMNS,
    TEXT_COLUMNS,
    object_cells,
    split_line,
)
from gateway.catalogs.tables.row_lines import MAX_ROW_BYTES, decoded
from shared.errors import InvalidInput

#: Every row of the results and of the rejected rows has a cell for each column.
MAX_COLUMNS = 1_000
#: The byte order mark of UTF-8.
BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Form:
    """The format of a file.

    Attributes:
        columns: Columns as in the header; for JSON Lines, the keys of the first row.
        delimiter: `None` for JSON Lines.
        has_bom: True if the file begins with a byte order mark, as spreadsheets write it.
    """

    columns: tuple[str, ...]
    delimiter: str | None
    has_bom: bool

    @property
    def kind(self) -> Literal["csv", "jsonl"]:
        """The usual file suffix of the format."""
        return "jsonl" if self.delimiter is None else "csv"

    @property
    def names_images(self) -> bool:
        """True if the columns can name an image."""
        known = {column.strip().casefold() for column in self.columns}
        return "image" in known or known.issuperset(CHALLENGE_IMAGE_COLUMNS)


def form_of(stream: BinaryIO) -> Form:
    """Detect the format of a product file from its beginning.

    Raises:
        InvalidInput: The file is empty, is not text, or has none of the required columns.
    """
    form = table_form(stream, PRODUCT_COLUMNS, "products")
    _require_columns(form)
    return form


def table_form(stream: BinaryIO, known: Collection[str], field: str) -> Form:
    """Detect the format of any table from its beginning.

    Args:
        stream: The file.
        known: Expected columns in lower case, by which the delimiter is recognised.
        field: The request field that an error names.

    Raises:
        InvalidInput: The file is empty, is not text, has too many columns, or has a known column
            twice.
    """
    has_bom, first = _first_line(stream, field)
    if first.lstrip().startswith("{"):
        form = Form(tuple(object_cells(first, 1, field)), None, has_bom)
    else:
        form = Form(*_header_of(first, known, field), has_bom)
    if len(form.columns) > MAX_COLUMNS:
        raise InvalidInput(
            f"Expected at most {MAX_COLUMNS} columns. Received: {len(form.columns)}", field=(field,)
        )
    names = [column.strip().casefold() for column in form.columns]
    twice = sorted(name for name in set(names) & {*known} if names.count(name) > 1)
    if twice:
        raise InvalidInput(
            f"Expected the column `{twice[0]}` once. Received: it {names.count(twice[0])} times",
            field=(field, twice[0]),
        )
    return form


def form_kept(stream: BinaryIO, report: Mapping[str, Any]) -> Form:
    """Return the format of a product file that was checked, from the report of its check.

    A CSV header is read again, because only the file has every column, including columns with
    repeated or empty names.

    Raises:
        InvalidInput: The file has changed since the check.
    """
    delimiter, has_bom = report["delimiter"], report["has_bom"]
    if delimiter is None:
        return Form(tuple(report["columns"]), None, has_bom)
    _, line = _first_line(stream, "products")
    return Form(split_line(line, delimiter), delimiter, has_bom)


def _first_line(stream: BinaryIO, field: str) -> tuple[bool, str]:
    stream.seek(0)
    raw = stream.readline(MAX_ROW_BYTES)
    if raw.startswith(_UTF16):
        raise InvalidInput(
            "Expected UTF-8 or Latin-1. Received: UTF-16; save the file as `CSV UTF-8`",
            field=(field,),
        )
    if b"\x00" in raw or raw.startswith(b"PK\x03\x04"):
        raise InvalidInput(
            "Expected a CSV file or JSON Lines. Received: a binary file", field=(field,)
        )
    if len(raw) == MAX_ROW_BYTES:
        raise InvalidInput(
            "Expected a header in the first line. Received: a line of more than 1 MiB",
            field=(field,),
        )
    has_bom = raw.startswith(BOM)
    line = decoded(raw[len(BOM) :] if has_bom else raw)
    if not line.strip():
        raise InvalidInput("Expected a header in the first line. Received: nothing", field=(field,))
    return has_bom, line


def _header_of(line: str, known: Collection[str], field: str) -> tuple[tuple[str, ...], str]:
    try:
        splits = {delimiter: split_line(line, delimiter) for delimiter in _DELIMITERS}
    except csv.Error as error:
        raise InvalidInput(
            f"Expected a header in the first line. Received: {error}", field=(field,)
        ) from error

    def rank(delimiter: str) -> tuple[int, int]:
        names = {column.strip().casefold() for column in splits[delimiter]}
        return len(names & {*known}), len(splits[delimiter])

    # The right delimiter yields the most known columns, then the most cells.
    best = max(splits, key=rank)
    return splits[best], best


def _require_columns(form: Form) -> None:
    names = [column.strip().casefold() for column in form.columns]
    if not form.names_images and not {*TEXT_COLUMNS} & {*names}:
        shown = ", ".join(form.columns)[:300]
        raise InvalidInput(
            "Expected a column `designation`, `description` or `image`. "
            f"Received the columns: {shown}",
            field=("products",),
        )
