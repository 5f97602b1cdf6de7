"""Write rows and answers as CSV, JSON Lines or a workbook, piece by piece."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import xlsxwriter

from shared.errors import InvalidInput
from shared.storage import PIECE_BYTES
from shared.tables.columns import unique
from shared.tables.form import Form
from shared.tables.rows import Row
from shared.tables.safe_cells import safe_cell

#: Characters that are sent at once: a short row of a wide table gets many empty cells as CSV, and
#: all column names as JSON Lines.
PIECE_CHARACTERS = 1_000_000
#: Limits of Excel: rows of a sheet with its header, and characters of a cell.
SHEET_ROWS = 1_048_576
CELL_CHARACTERS = 32_767

Page = Sequence[tuple[Row, Mapping[str, Any]]]


def csv_pieces(
    pages: Iterable[Page], form: Form, names: Mapping[str, str], *, raw: bool, has_bom: bool
) -> Iterator[bytes]:
    """Yield the results as CSV with the delimiter of the upload.

    Args:
        pages: Rows and their answers.
        form: Form of the uploaded table.
        names: Name of each answer column.
        raw: True to keep cells that a spreadsheet runs as formulas.
        has_bom: True to begin with a byte order mark, which Excel needs to read UTF-8.
    """
    text = io.StringIO()
    text.write("\ufeff" if has_bom else "")
    table = csv.writer(text, delimiter=form.delimiter)
    cell = str if raw else safe_cell
    table.writerow(map(cell, [*form.columns, *names.values()]))
    for page in pages:
        for row, answer in page:
            answered = (answer.get(name) for name in names)
            shown = (_shown(cell(one) if isinstance(one, str) else one) for one in answered)
            table.writerow([*map(cell, _uploaded(row, form)), *shown])
            if text.tell() > PIECE_CHARACTERS:
                yield _drain(text)
        yield _drain(text)
    yield _drain(text)


def json_pieces(pages: Iterable[Page], form: Form, names: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the results as JSON Lines; values of JSON Lines come back as they were sent."""
    text = io.StringIO()
    columns = unique(form.columns)
    for page in pages:
        for row, answer in page:
            sent: Mapping[str, Any] = row.object or dict(zip(columns, row.values, strict=False))
            shown = {_free(names[name], sent): answer.get(name) for name in names}
            text.write(json.dumps({**sent, **shown}, ensure_ascii=False) + "\n")
            if text.tell() > PIECE_CHARACTERS:
                yield _drain(text)
        yield _drain(text)


def workbook_pieces(
    pages: Iterable[Page], form: Form, names: Mapping[str, str], rows: int
) -> Iterator[bytes]:
    """Yield the results as an Excel workbook, written to a temporary file first.

    Uploaded cells are texts, so that `007` stays `007` and no formula runs.

    Raises:
        InvalidInput: A sheet cannot have so many rows.
    """
    if rows >= SHEET_ROWS:
        raise InvalidInput(
            f"Expected at most {SHEET_ROWS - 1} rows for `xlsx`. Received: {rows}; use `csv`",
            field=("format",),
        )
    return _workbook(pages, form, names)


def _workbook(pages: Iterable[Page], form: Form, names: Mapping[str, str]) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        with xlsxwriter.Workbook(file, {"constant_memory": True}) as book:
            sheet = book.add_worksheet("Rayon")
            sheet.freeze_panes(1, 0)
            _write_row(sheet, 0, [*form.columns, *names.values()])
            for number, (row, answer) in enumerate(chain.from_iterable(pages), start=1):
                cells = [*_uploaded(row, form), *(answer.get(name) for name in names)]
                _write_row(sheet, number, cells)
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            yield piece


def _write_row(sheet: Any, number: int, cells: Sequence[Any]) -> None:
    for column, cell in enumerate(cells):
        if isinstance(cell, str) and cell:
            cut = cell if len(cell) <= CELL_CHARACTERS else f"{cell[: CELL_CHARACTERS - 1]}…"
            sheet.write_string(number, column, cut)
        elif isinstance(cell, bool):
            sheet.write_boolean(number, column, cell)
        elif isinstance(cell, int | float):
            sheet.write_number(number, column, cell)


def _shown(value: Any) -> Any:
    """Return a value as CSV writes it: truth values as in JSON."""
    return str(value).lower() if isinstance(value, bool) else value


def _uploaded(row: Row, form: Form) -> list[str]:
    """Return the uploaded cells of a row, one for each column."""
    cells = row.values_of(form)
    return cells + [""] * (len(form.columns) - len(cells))


def _free(name: str, sent: Mapping[str, Any]) -> str:
    # A key that only later rows have is not in the columns.
    while name in sent:
        name = f"rayon_{name}"
    return name


def _drain(text: io.StringIO) -> bytes:
    """Return the text written so far, and empty the buffer."""
    content = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return content
