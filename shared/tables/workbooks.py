"""Read the first sheet of a spreadsheet as CSV."""

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from python_calamine import CalamineWorkbook

from shared.archives import BROKEN
from shared.errors import InvalidInput
from shared.tables.encoding import BOM

#: Largest unpacked workbook: the reader holds a whole sheet in memory, several times this size.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
#: Largest workbook of the old binary format.
MAX_XLS_BYTES = 64 * 1024 * 1024
#: Empty rows before the header that are kept; more would hide the header from its detection.
MAX_EMPTY_ROWS = 1_000
#: Characters of CSV that are yielded at once.
PIECE_CHARACTERS = 1_000_000


def csv_lines(stream: BinaryIO, table: str) -> Iterator[bytes]:
    """Yield the first sheet that has cells as CSV in UTF-8, with a byte order mark.

    Args:
        stream: An `.xlsx`, `.xlsb`, `.xls` or `.ods` file.
        table: The request field of the file, which an error names.

    Raises:
        InvalidInput: The workbook is too large, broken, encrypted or empty.
    """
    _require_size(stream, table)
    stream.seek(0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    yield BOM
    for row in _rows(stream, table):
        writer.writerow([cell(value) for value in row])
        if text.tell() > PIECE_CHARACTERS:
            yield text.getvalue().encode(errors="replace")
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode(errors="replace")


def cell(value: Any) -> str:
    """Return the value of a cell as a person reads it: `3804725264` and not `3804725264.0`."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime) and not value.time():
        return value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _rows(stream: BinaryIO, table: str) -> Iterator[list[Any]]:
    try:
        workbook = CalamineWorkbook.from_filelike(stream)
        for name in workbook.sheet_names:
            rows = enumerate(workbook.get_sheet_by_name(name).iter_rows())
            found = next((one for one in rows if any(value != "" for value in one[1])), None)
            if found is not None:
                place, first = found
                # Empty lines before the header keep the lines those of the sheet.
                yield from ([] for _ in range(place if place <= MAX_EMPTY_ROWS else 0))
                yield first
                yield from (row for _, row in rows)
                return
    except (KeyboardInterrupt, SystemExit, GeneratorExit, InvalidInput):
        raise
    except BaseException as error:  # a panic of the library is not an `Exception`
        raise InvalidInput(
            f"Expected a table that can be read. Received: an Excel workbook that is cut, broken "
            f"or encrypted ({error}); save it as `CSV UTF-8` or `.xlsx`",
            field=(table,),
        ) from error
    raise InvalidInput("Expected a sheet with cells. Received: an empty workbook", field=(table,))


def _require_size(stream: BinaryIO, table: str) -> None:
    size, limit = stream.seek(0, io.SEEK_END), MAX_XLS_BYTES
    stream.seek(0)
    if stream.read(4) == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(stream) as archive:
                size, limit = sum(one.file_size for one in archive.infolist()), MAX_UNPACKED_BYTES
        except (*BROKEN, OSError) as error:
            raise InvalidInput(
                f"Expected an Excel workbook that can be read. Received: {error}", field=(table,)
            ) from error
    if size > limit:
        raise InvalidInput(
            f"Expected a workbook of at most {limit} unpacked bytes. Received: {size}; save the "
            "sheet as `CSV UTF-8`",
            field=(table,),
        )
