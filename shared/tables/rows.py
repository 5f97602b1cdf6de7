"""Read the rows of a table.

One malformed row never stops the others, and only the current row is held in memory.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from shared.errors import InvalidInput
from shared.tables.columns import matched
from shared.tables.dialect import Dialect
from shared.tables.form import Form, Names
from shared.tables.json_lines import cell_of, cells_of, object_in
from shared.tables.lines import NotClosed, RowLines, TooLong

#: Characters of a cell that a report shows.
SHOWN_CHARACTERS = 100
TOO_LONG = "Expected a row of at most 1 MiB. Received: a longer one"
NOT_CLOSED = "Expected a closing quote at the end of the cell. Received: none"
#: Code of a row that is no row of its format, and the codes of two special reasons.
UNREADABLE = "row_unreadable"
_CODES = {TOO_LONG: "row_too_long", NOT_CLOSED: "quote_not_closed"}


@dataclass(frozen=True)
class Problem:
    """The reason for rejecting a row.

    Attributes:
        column: Field of the column at fault; `None` for the whole row.
        value: Beginning of the value at fault.
        reason: Sentence that states what was expected and what was received.
        code: Stable name of the kind of problem.
    """

    column: str | None
    value: str
    reason: str
    code: str = UNREADABLE


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        number: Row number from 1; the header and empty lines are not counted.
        line: Number of the row's first line in the file, from 1.
        values: Cells in the order of the columns; for JSON Lines, the text of the values.
        fields: Position in `values` of each field that the row has.
        object: The row of JSON Lines as it was sent.
        problem: The reason why the row cannot be read.
    """

    number: int
    line: int
    values: Sequence[str]
    fields: Mapping[str, int]
    object: Mapping[str, Any] | None = None
    problem: Problem | None = None

    def get(self, field: str) -> str:
        """Return the cell of a field; empty if the row has none."""
        position = self.fields.get(field)
        if position is None or position >= len(self.values):
            return ""
        return self.values[position]

    def values_of(self, form: Form) -> list[str]:
        """Return the cells in the order of the file's columns, up to the row's last cell."""
        if self.object is None:
            return list(self.values)
        found = [self.object.get(column) for column in form.columns]
        while found and found[-1] is None:
            found.pop()
        return [cell_of(value) for value in found]


def rows_of(stream: BinaryIO, form: Form, names: Names) -> Iterator[Row]:
    """Read the rows of a table from its beginning; malformed rows have a `problem`."""
    lines = form.open(stream)
    if form.dialect is None:
        return _json_rows(lines, form, names)
    return _csv_rows(lines, form, form.dialect)


def _csv_rows(lines: RowLines, form: Form, dialect: Dialect) -> Iterator[Row]:
    _skip(lines, form.skipped)
    number = 0
    width = len(form.columns)
    reader = dialect.reader(lines, is_strict=True)
    while True:
        lines.begin_row()
        try:
            cells = dialect.unwrapped(next(reader))
        except StopIteration:
            return
        except (TooLong, NotClosed, csv.Error) as error:
            cells, reason = _again(lines, dialect, error)
            reader = dialect.reader(lines, is_strict=True)
            if reason:
                number += 1
                yield _rejected(number, lines, reason, form, _CODES.get(reason, UNREADABLE))
                lines.give_back()
                continue
        if not any(cell and not cell.isspace() for cell in cells):
            continue
        number += 1
        fitted = cells if len(cells) == width else _fitted(cells, width)
        if fitted is not None:
            yield Row(number, lines.line, fitted, form.fields)
            continue
        reason = f"Expected {width} cells. Received: {len(cells)}"
        yield _rejected(number, lines, reason, form, "cells_differ")
        # An unclosed quote swallows the rows after it, so those lines are read again.
        if lines.give_back():
            reader = dialect.reader(lines, is_strict=True)


def _skip(lines: RowLines, count: int) -> None:
    for _ in range(count):
        lines.begin_row()
        next(lines, None)


def _again(lines: RowLines, dialect: Dialect, error: Exception) -> tuple[list[str], str]:
    """Read a row again that breaks the rules of quoting; return its cells, or why it is rejected.

    Text after a closing quote, as in `"12" tablet`, is tolerated within a line. Over several lines
    it shows that a quote was never closed and that the row swallowed others.
    """
    if not isinstance(error, csv.Error):
        return [], NOT_CLOSED if isinstance(error, NotClosed) else TOO_LONG
    if lines.is_cut or len(lines.taken) > 1:
        return [], NOT_CLOSED
    lines.restart_row()
    try:
        cells = dialect.unwrapped(next(dialect.reader(lines)))
    except (TooLong, NotClosed, StopIteration):
        return [], NOT_CLOSED
    except csv.Error as again:
        return [], f"Expected a row of CSV. Received: {again}"
    return (cells, "") if len(lines.taken) == 1 and not lines.is_cut else ([], NOT_CLOSED)


def _fitted(cells: list[str], width: int) -> list[str] | None:
    """Return the cells with empty ones added, or removed at the end; `None` if there are more."""
    if len(cells) < width:
        return cells + [""] * (width - len(cells))
    return cells[:width] if not any(cell.strip() for cell in cells[width:]) else None


def _json_rows(lines: RowLines, form: Form, names: Names) -> Iterator[Row]:
    @lru_cache(maxsize=100)
    def fields_of(keys: tuple[str, ...]) -> Mapping[str, int]:
        stated = {
            name: column for name, column in form.given.items() if column is None or column in keys
        }
        return matched(keys, names, stated)

    number = 0
    while True:
        lines.begin_row()
        try:
            line = next(lines)
        except StopIteration:
            return
        except TooLong:
            number += 1
            yield _rejected(number, lines, TOO_LONG, form, _CODES[TOO_LONG])
            continue
        if not line.strip(" \t\r\n\ufeff"):
            continue
        number += 1
        try:
            sent = object_in(line, lines.line)
            fields = fields_of(tuple(sent))
        except InvalidInput as error:
            yield _rejected(number, lines, error.detail, form, UNREADABLE)
            continue
        yield Row(number, lines.line, [*cells_of(sent).values()], fields, sent)


def _rejected(number: int, lines: RowLines, reason: str, form: Form, code: str) -> Row:
    """Return a row that is rejected as a whole, with the cells of its first line."""
    first = "".join(lines.taken[:1])
    problem = Problem(None, first.strip()[:SHOWN_CHARACTERS], reason, code)
    values: list[str] = []
    if form.dialect is not None:
        try:
            values = form.dialect.unwrapped(next(form.dialect.reader(iter([first])), []))
        except csv.Error:
            values = []
    sent: Mapping[str, Any] | None = None if form.dialect is not None else {}
    return Row(number, lines.line, values[: len(form.columns)], form.fields, sent, problem)
