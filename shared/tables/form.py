"""Detect the form of a table from its beginning: kind, encoding, dialect and columns."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO, Literal

from shared.errors import InvalidInput
from shared.tables.columns import matched, nearest, shown
from shared.tables.dialect import (
    NO_DELIMITER,
    Dialect,
    Encoded,
    dialect_of,
    is_blank,
    separator_in,
)
from shared.tables.encoding import BOM, legacy_encoding
from shared.tables.json_lines import object_in
from shared.tables.lines import MAX_ROW_BYTES, LineSource, MacLines, RowLines, TooLong

#: Every row of the results and of the rejected rows has a cell for each column.
MAX_COLUMNS = 1_000
#: Bytes of the beginning of a file from which its form is detected.
SAMPLE_BYTES = 1024 * 1024
#: Objects of JSON Lines whose keys are looked at.
SAMPLE_OBJECTS = 200

Names = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Form:
    """The form of a table.

    Attributes:
        columns: Columns as in the header; for JSON Lines, the keys of the first objects.
        dialect: `None` for JSON Lines.
        encoding: Encoding of the lines that are not UTF-8; `None` if all are.
        has_bom: True if the file begins with a byte order mark, as spreadsheets write it.
        has_mac_lines: True if lines end with a carriage return alone.
        skipped: Lines before the first row: empty ones, `sep=` and the header.
        fields: Position of the column of each field.
        given: Column of a field as the sender stated it; `None` for none.
    """

    columns: tuple[str, ...]
    dialect: Dialect | None
    encoding: str | None = None
    has_bom: bool = False
    has_mac_lines: bool = False
    skipped: int = 1
    fields: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["csv", "jsonl"]:
        """The usual file suffix of the format."""
        return "jsonl" if self.dialect is None else "csv"

    @property
    def delimiter(self) -> str:
        """Delimiter with which results are written like the file."""
        if self.dialect is None or self.dialect.delimiter == NO_DELIMITER:
            return ","
        return self.dialect.delimiter

    @property
    def needs_bom(self) -> bool:
        """True if results need a byte order mark so that the sender's spreadsheet reads UTF-8."""
        return self.has_bom or self.encoding is not None

    @property
    def used(self) -> dict[str, str]:
        """Column of each field that has one."""
        return {name: self.columns[position] for name, position in self.fields.items()}

    @property
    def unused(self) -> list[str]:
        """Columns that are only returned with the results."""
        used = {*self.fields.values()}
        return [column for place, column in enumerate(self.columns) if place not in used]

    @property
    def kept(self) -> dict[str, Any]:
        """Values that `form_kept` needs to read the table again without detecting its form."""
        # The file has every column of a header, and the header may be long.
        return {**asdict(self), "columns": None}

    def with_columns(self, columns: tuple[str, ...]) -> "Form":
        """Return the form with other columns."""
        return replace(self, columns=columns)

    def with_fields(self, fields: Mapping[str, int]) -> "Form":
        """Return the form with other fields."""
        return replace(self, fields=fields)

    def open(self, stream: BinaryIO) -> RowLines:
        """Return the lines of the file from its beginning."""
        stream.seek(len(BOM) if self.has_bom else 0)
        source: LineSource = MacLines(stream) if self.has_mac_lines else stream
        has_backslashes = self.dialect is not None and self.dialect.has_backslashes
        return RowLines(source, self.encoding, has_backslashes=has_backslashes)


def form_of(
    stream: BinaryIO, names: Names, given: Mapping[str, str | None] | None = None, *, table: str
) -> Form:
    """Detect the form of a plain table.

    Args:
        stream: The file: text that `shared.tables.unpack` needs not convert.
        names: Names of the expected columns by field, the preferred ones first.
        given: Column of a field as the sender states it; `None` for none.
        table: The request field of the file, which an error names.

    Raises:
        InvalidInput: The file is empty or ambiguous, has too many columns, lacks a stated column,
            or has a column with a field's own name twice.
    """
    stream.seek(0)
    head = stream.read(SAMPLE_BYTES)
    has_bom = head.startswith(BOM)
    content = head[len(BOM) :] if has_bom else head
    has_mac_lines = b"\r" in content and b"\n" not in content
    raw = io.BytesIO(content.replace(b"\r", b"\n") if has_mac_lines else content)
    encoding = legacy_encoding(raw.readlines())
    raw.seek(0)
    text = _lines_of(raw, encoding)
    if len(head) == SAMPLE_BYTES and len(text) > 1:
        # The last line is cut.
        text.pop()
    form = Form((), None, encoding, has_bom, has_mac_lines, given=given or {})
    start = next((number for number, line in enumerate(text) if not is_blank(line)), None)
    if start is None:
        raise InvalidInput(
            "Expected a header and rows. Received: "
            + ("an empty file" if not head else "only empty lines"),
            field=(table,),
        )
    if text[start].lstrip(" \ufeff").startswith("{"):
        return _json_form(text[start:], form, names, table)
    return _csv_form(text, start, form, names, table)


def _lines_of(raw: BinaryIO, encoding: str | None) -> list[str]:
    """Return the lines of a sample, divided as the rows will be."""
    lines, found = RowLines(raw, encoding), []
    with suppress(StopIteration):
        while True:
            lines.begin_row()
            with suppress(TooLong):
                found.append(next(lines))
    return found


def _json_form(lines: Sequence[str], form: Form, names: Names, table: str) -> Form:
    keys = dict.fromkeys(_bounded(tuple(object_in(lines[0], 1, table)), table))
    for number, line in enumerate(islice(lines, 1, SAMPLE_OBJECTS), start=2):
        with suppress(InvalidInput):
            keys |= dict.fromkeys(object_in(line, number, table))
    columns = tuple(keys)[:MAX_COLUMNS]
    fields = matched(columns, names, form.given, table)
    return Form(
        columns, None, form.encoding, form.has_bom, skipped=0, fields=fields, given=form.given
    )


def _csv_form(lines: Sequence[str], start: int, form: Form, names: Names, table: str) -> Form:
    stated = separator_in(lines[start])
    if stated:
        start = next(
            (place for place in range(start + 1, len(lines)) if not is_blank(lines[place])), start
        )
    if len(lines[start].encode()) >= MAX_ROW_BYTES:
        raise InvalidInput(
            "Expected a header in the first line. Received: a line of more than 1 MiB",
            field=(table,),
        )
    dialect = dialect_of(lines[start:], names, stated, table)
    columns, taken = _header_in(lines[start:], dialect, table)
    return Form(
        _bounded(columns, table),
        dialect,
        form.encoding,
        form.has_bom,
        form.has_mac_lines,
        start + taken,
        matched(columns, names, form.given, table),
        form.given,
    )


def _header_in(lines: Sequence[str], dialect: Dialect, table: str) -> tuple[tuple[str, ...], int]:
    """Return the columns of the header, and the number of its lines."""
    source = RowLines(Encoded(lines), has_backslashes=dialect.has_backslashes)
    try:
        cells = dialect.unwrapped(next(dialect.reader(source)))
    except (csv.Error, StopIteration) as error:
        raise InvalidInput(
            f"Expected a header in the first line. Received: {error}", field=(table,)
        ) from error
    return tuple(cell.strip("\ufeff") for cell in cells), len(source.taken)


def form_kept(stream: BinaryIO, kept: Mapping[str, Any], table: str = "products") -> Form:
    """Return the form of a table from what `Form.kept` returned.

    Raises:
        InvalidInput: The file has changed since.
    """
    values = dict(kept)
    dialect = Dialect(**values["dialect"]) if values["dialect"] else None
    form = Form(**{**values, "dialect": dialect, "columns": tuple(values["columns"] or ())})
    if dialect is None:
        return form
    # The header is read as it was detected: from lines whose quotes are as in the file.
    plain = replace(form, dialect=replace(dialect, has_backslashes=False))
    text = []
    lines = plain.open(stream)
    for _ in range(form.skipped):
        lines.begin_row()
        text.append(next(lines, ""))
    start = next((place for place, line in enumerate(text) if not is_blank(line)), 0)
    if separator_in(text[start]):
        start += 1
    columns, _ = _header_in(text[start:], dialect, table)
    return Form(**{**values, "dialect": dialect, "columns": columns})


def require_columns(form: Form, any_of: Sequence[str], names: Names, table: str) -> None:
    """Check that a table has a column of one of the fields.

    Raises:
        InvalidInput: It has none; the error lists its columns and the nearest name.
    """
    if not {*any_of} & {*form.fields}:
        wanted = [alias for name in any_of for alias in names[name]]
        listed = ", ".join(f"`{name}`" for name in any_of[:-1])
        raise InvalidInput(
            f"Expected a column {listed} or `{any_of[-1]}`. Received the columns: "
            f"{shown(form.columns)}{nearest(wanted, form.columns)}",
            field=(table,),
        )


def _bounded(columns: tuple[str, ...], table: str) -> tuple[str, ...]:
    if len(columns) > MAX_COLUMNS:
        raise InvalidInput(
            f"Expected at most {MAX_COLUMNS} columns. Received: {len(columns)}", field=(table,)
        )
    return columns
