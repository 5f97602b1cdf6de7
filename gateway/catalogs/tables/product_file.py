"""Read the products of a catalog as shops export them: any kind of CSV, or JSON Lines.

One malformed row never stops the others, and only the current row is held in memory.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from gateway.catalogs.tables.cells import (
    FieldReader,
    allow_long_cells,
    field_readers,
    object_cells,
    split_line,
)
from gateway.catalogs.tables.row_lines import NotClosed, RowLines, TooLong
from gateway.catalogs.tables.table_format import BOM, Form
from shared.errors import InvalidInput

#: Characters of a cell that a report shows.
SHOWN_CHARACTERS = 100
TOO_LONG = "Expected a row of at most 1 MiB. Received: a longer one"
NOT_CLOSED = "Expected a closing quote at the end of the cell. Received: none"


@dataclass(frozen=True)
class Problem:
    """The reason for rejecting a row: column (`None`: the whole row), value and explanation."""

    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One row of the file.

    Attributes:
        number: Row number from 1; the header and empty lines are not counted.
        line: Number of the row's first line in the file, from 1.
        cells: Cells as received, by column.
        designation: The title.
        description: The description.
        image: Name of the image; empty if the row names none.
        problem: The reason why the row cannot be read.
        values: Cells of CSV in the order of the columns, whose names may repeat.
    """

    number: int
    line: int
    cells: dict[str, str]
    designation: str = ""
    description: str = ""
    image: str = ""
    problem: Problem | None = None
    values: Sequence[str] = ()

    def values_of(self, form: Form) -> list[str]:
        """Return the cells in the order of the file's columns, up to the row's last cell."""
        if form.kind == "csv":
            return list(self.values)
        found = [self.cells.get(column) for column in form.columns]
        while found and found[-1] is None:
            found.pop()
        return [cell or "" for cell in found]


def rows_of(stream: BinaryIO, form: Form) -> Iterator[Row]:
    """Read the rows of a file from its beginning; malformed rows have a `problem`."""
    stream.seek(len(BOM) if form.has_bom else 0)
    return _json_rows(stream) if form.delimiter is None else _csv_rows(stream, form)


def _csv_rows(stream: BinaryIO, form: Form) -> Iterator[Row]:
    allow_long_cells()
    lines = RowLines(stream)
    next(lines)
    readers = field_readers(form.columns)
    number = 0
    reader = csv.reader(lines, delimiter=form.delimiter or ",")
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (TooLong, NotClosed, csv.Error) as error:
            number += 1
            yield _rejected(number, lines, _reason(error))
            lines.give_back()
            reader = csv.reader(lines, delimiter=form.delimiter or ",")
            continue
        if not any(cells):
            continue
        number += 1
        if lines.is_cut:
            yield _rejected(number, lines, NOT_CLOSED, form)
        elif len(cells) != len(form.columns):
            reason = f"Expected {len(form.columns)} cells. Received: {len(cells)}"
            yield _rejected(number, lines, reason, form)
        else:
            by_column = dict(zip(form.columns, cells, strict=True))
            yield _row(number, lines.line, by_column, readers, cells)
            continue
        if len(lines.taken) > 1:
            # An unclosed quote swallows the rows after it, so those lines are read again.
            lines.give_back()
            reader = csv.reader(lines, delimiter=form.delimiter or ",")


def _json_rows(stream: BinaryIO) -> Iterator[Row]:
    lines = RowLines(stream)
    number = 0
    while True:
        lines.begin_row()
        try:
            line = next(lines)
        except StopIteration:
            return
        except TooLong:
            number += 1
            yield _rejected(number, lines, TOO_LONG)
            continue
        if not line.strip():
            continue
        number += 1
        try:
            cells = object_cells(line, lines.line)
        except InvalidInput as error:
            yield _rejected(number, lines, error.detail)
            continue
        yield _row(number, lines.line, cells, field_readers(tuple(cells)))


def _row(
    number: int,
    line: int,
    cells: dict[str, str],
    readers: dict[str, FieldReader],
    values: Sequence[str] = (),
) -> Row:
    found = {name: read(cells) for name, read in readers.items()}
    return Row(
        number,
        line,
        cells,
        designation=found.get("designation", ""),
        description=found.get("description", ""),
        image=found.get("image", ""),
        values=values,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, csv.Error):
        return f"Expected a row of CSV. Received: {error}"
    return NOT_CLOSED if isinstance(error, NotClosed) else TOO_LONG


def _rejected(number: int, lines: RowLines, reason: str, form: Form | None = None) -> Row:
    """Return a row that is rejected as a whole, with the cells of its first line."""
    first = "".join(lines.taken[:1])
    problem = Problem(None, first.strip()[:SHOWN_CHARACTERS], reason)
    if form is None or form.delimiter is None:
        return Row(number, lines.line, {}, problem=problem)
    try:
        values = split_line(first, form.delimiter)[: len(form.columns)]
    except csv.Error:
        values = ()
    cells = dict(zip(form.columns, values, strict=False))
    return Row(number, lines.line, cells, problem=problem, values=values)
