"""Reads the products of a catalog as shops export them: CSV of any kind, or JSON Lines.

One bad row never stops the others, and no row is held in memory longer than it is looked at.
"""

import csv
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from shared.errors import InvalidInput

#: A longer row is a mistake: a description has a few kilobytes. The reader holds this much of one.
MAX_ROW_BYTES = 1024 * 1024
#: More are a mistake: a row of results and of rejected ones has a cell for each.
MAX_COLUMNS = 1_000
#: Bytes that may be read again for each byte of the file, while rows with open quotes are told from
#: those after them. Without a bound, a file in which every line opens a quote takes hours.
READ_AGAIN = 8
#: Of a cell that a report shows.
SHOWN_CHARACTERS = 100
TOO_LONG = "Expected a row of at most 1 MiB. Received: a longer one"
NOT_CLOSED = "Expected a quote at the cell's end. Received: none"
_DELIMITERS = ",;\t|"
_HALF = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: The columns that mean something; every other one is only given back.
_TEXTS = ("designation", "description")
_CHALLENGE_IMAGE = ("imageid", "productid")
PRODUCT_COLUMNS = frozenset({*_TEXTS, "image", *_CHALLENGE_IMAGE})


@dataclass(frozen=True)
class Problem:
    """Why a row is rejected: which column (`None`: the whole row), what came, what was expected."""

    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One row of the file.

    Attributes:
        number: From 1, without the header and without empty lines.
        line: Of the file, where the row begins; from 1.
        cells: As they were sent, by column.
        values: The same of CSV, in the order of the columns: two of them may have one name.
        image: Name of its image; empty if it names none.
        problem: Why it cannot be read.
    """

    number: int
    line: int
    cells: dict[str, str]
    designation: str = ""
    description: str = ""
    image: str = ""
    problem: Problem | None = None
    values: Sequence[str] = ()

    def values_of(self, form: "Form") -> list[str]:
        """The cells in the order of the file's columns, up to the last one that the row has."""
        if form.kind == "csv":
            return list(self.values)
        found = [self.cells.get(column) for column in form.columns]
        while found and found[-1] is None:
            found.pop()
        return [cell or "" for cell in found]


@dataclass(frozen=True)
class Form:
    """How a file is written.

    Attributes:
        columns: As the header has them; of JSON Lines the keys of the first row.
        delimiter: `None` for JSON Lines.
        has_bom: Whether it begins with the mark by which spreadsheets know UTF-8.
    """

    columns: tuple[str, ...]
    delimiter: str | None
    has_bom: bool

    @property
    def kind(self) -> Literal["csv", "jsonl"]:
        """The format's usual suffix."""
        return "jsonl" if self.delimiter is None else "csv"

    @property
    def names_images(self) -> bool:
        """Whether rows can name images."""
        known = {column.strip().casefold() for column in self.columns}
        return "image" in known or known.issuperset(_CHALLENGE_IMAGE)


def form_of(stream: BinaryIO) -> Form:
    """Look at the beginning of a file of products.

    Raises:
        InvalidInput: It is empty, no text, or has none of the columns that are needed.
    """
    form = table_form(stream, PRODUCT_COLUMNS, "products")
    _require_columns(form)
    return form


def table_form(stream: BinaryIO, known: Collection[str], field: str) -> Form:
    """Look at the beginning of any table.

    Args:
        stream: The file.
        known: Columns by which the right delimiter is told, in lower case.
        field: Of the request, which a problem names.

    Raises:
        InvalidInput: It is empty, no text, or has too many columns, or one of the known ones twice.
    """
    has_bom, first = _first_line(stream, field)
    if first.lstrip().startswith("{"):
        form = Form(tuple(_object_of(first, 1, field)), None, has_bom)
    else:
        form = Form(*_header_of(first, known, field), has_bom)
    if len(form.columns) > MAX_COLUMNS:
        raise InvalidInput(
            f"Expected at most {MAX_COLUMNS} columns. Received: {len(form.columns)}", field=(field,)
        )
    names = [column.strip().casefold() for column in form.columns]
    twice = sorted(name for name in set(names) & {*known} if names.count(name) > 1)
    if twice:
        raise InvalidInput(f"Expected the column `{twice[0]}` once", field=(field, twice[0]))
    return form


def form_kept(stream: BinaryIO, report: Mapping[str, Any]) -> Form:
    """How a file of products is written whose check left a report.

    The header of CSV is read again: only the file itself has every column, also those that are
    there twice or have no name.

    Raises:
        InvalidInput: The file is another one.
    """
    delimiter, has_bom = report["delimiter"], report["has_bom"]
    if delimiter is None:
        return Form(tuple(report["columns"]), None, has_bom)
    _, line = _first_line(stream, "products")
    return Form(_split(line, delimiter), delimiter, has_bom)


def rows_of(stream: BinaryIO, form: Form) -> Iterator[Row]:
    """Read the rows of a file from its beginning, each with what is wrong with it."""
    stream.seek(len(_BOM) if form.has_bom else 0)
    return _json_rows(stream) if form.delimiter is None else _csv_rows(stream, form)


class _TooLong(Exception):
    """A line, or the lines of a row, are longer than `MAX_ROW_BYTES`."""


class _NotClosed(Exception):
    """A quote is open at the line's end, and the lines after it were read again often enough."""


class _Lines:
    """The lines of a file as text; those that belong to one row are remembered and can go back.

    Lines that went back are read again, each once as the beginning of a row; beyond that, no more
    than `READ_AGAIN` allows.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._back: deque[str] = deque()
        self._last = 0
        self._again = 0
        #: Of the row that is being read.
        self.taken: list[str] = []
        self.size = 0
        self.is_cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._back and self.taken:
            if len(self._back[0]) > self._again:
                raise _NotClosed
            self._again -= len(self._back[0])
        line = self._back.popleft() if self._back else self._read()
        self._last += 1
        self.taken.append(line)
        self.size += len(line)
        if self.size > MAX_ROW_BYTES:
            raise _TooLong
        return line

    @property
    def line(self) -> int:
        """Where the row that is being read begins."""
        return self._last - len(self.taken) + 1

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.taken, self.size, self.is_cut = [], 0, False

    def give_back(self) -> None:
        """Read all but the first line of this row again."""
        self._back.extendleft(reversed(self.taken[1:]))
        self._last -= len(self.taken) - 1

    def _read(self) -> str:
        raw = self._stream.readline(MAX_ROW_BYTES + 1)
        if not raw:
            # The reader asks for more only inside of quotes.
            self.is_cut = bool(self.taken)
            raise StopIteration
        self._again += READ_AGAIN * len(raw)
        if len(raw) > MAX_ROW_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = self._stream.readline(MAX_ROW_BYTES)
            self._last += 1
            self.taken.append("")
            raise _TooLong
        return _decoded(raw)


def _csv_rows(stream: BinaryIO, form: Form) -> Iterator[Row]:
    _allow_long_cells()
    lines = _Lines(stream)
    next(lines)
    fields = _fields(form.columns)
    number = 0
    reader = csv.reader(lines, delimiter=form.delimiter or ",")
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_TooLong, _NotClosed, csv.Error) as error:
            number += 1
            yield _whole(number, lines, _reason(error))
            lines.give_back()
            reader = csv.reader(lines, delimiter=form.delimiter or ",")
            continue
        if not any(cells):
            continue
        number += 1
        if lines.is_cut:
            yield _whole(number, lines, NOT_CLOSED, form)
        elif len(cells) != len(form.columns):
            reason = f"Expected {len(form.columns)} cells. Received: {len(cells)}"
            yield _whole(number, lines, reason, form)
        else:
            by_column = dict(zip(form.columns, cells, strict=True))
            yield _row(number, lines.line, by_column, fields, cells)
            continue
        if len(lines.taken) > 1:
            # A quote that is not closed swallows the rows after it; they are read on their own.
            lines.give_back()
            reader = csv.reader(lines, delimiter=form.delimiter or ",")


def _json_rows(stream: BinaryIO) -> Iterator[Row]:
    lines = _Lines(stream)
    number = 0
    while True:
        lines.begin_row()
        try:
            line = next(lines)
        except StopIteration:
            return
        except _TooLong:
            number += 1
            yield _whole(number, lines, TOO_LONG)
            continue
        if not line.strip():
            continue
        number += 1
        try:
            cells = _object_of(line, lines.line)
        except InvalidInput as error:
            yield _whole(number, lines, error.detail)
            continue
        yield _row(number, lines.line, cells, _fields(tuple(cells)))


def _row(
    number: int,
    line: int,
    cells: dict[str, str],
    fields: dict[str, Callable[[dict[str, str]], str]],
    values: Sequence[str] = (),
) -> Row:
    found = {name: read(cells) for name, read in fields.items()}
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
    return NOT_CLOSED if isinstance(error, _NotClosed) else TOO_LONG


def _whole(number: int, lines: _Lines, reason: str, form: Form | None = None) -> Row:
    """A row that is rejected as a whole, with the cells that its first line shows."""
    first = "".join(lines.taken[:1])
    problem = Problem(None, first.strip()[:SHOWN_CHARACTERS], reason)
    if form is None or form.delimiter is None:
        return Row(number, lines.line, {}, problem=problem)
    try:
        values = _split(first, form.delimiter)[: len(form.columns)]
    except csv.Error:
        values = ()
    cells = dict(zip(form.columns, values, strict=False))
    return Row(number, lines.line, cells, problem=problem, values=values)


def _split(line: str, delimiter: str) -> tuple[str, ...]:
    """The cells of one line. Raises `csv.Error`."""
    _allow_long_cells()
    return tuple(next(csv.reader([line], delimiter=delimiter), ()))


def _allow_long_cells() -> None:
    # The library's own limit is less than a row may have, and holds for the whole process.
    csv.field_size_limit(2 * MAX_ROW_BYTES)


def _fields(columns: tuple[str, ...]) -> dict[str, Callable[[dict[str, str]], str]]:
    """How the fields of a row are read from its cells, by the field's name."""
    known = {column.strip().casefold(): column for column in columns}
    fields = {name: _cell(known[name]) for name in _TEXTS if name in known}
    if "image" in known:
        fields["image"] = _image_cell(known["image"])
    elif known.keys() >= set(_CHALLENGE_IMAGE):
        fields["image"] = _challenge_image(known["imageid"], known["productid"])
    return fields


def _cell(column: str) -> Callable[[dict[str, str]], str]:
    return lambda cells: cells[column]


def _image_cell(column: str) -> Callable[[dict[str, str]], str]:
    return lambda cells: cells[column].strip()


def _challenge_image(image: str, product: str) -> Callable[[dict[str, str]], str]:
    def name(cells: dict[str, str]) -> str:
        ids = cells[image].strip(), cells[product].strip()
        return f"image_{ids[0]}_product_{ids[1]}.jpg" if all(ids) else ""

    return name


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
    has_bom = raw.startswith(_BOM)
    line = _decoded(raw[len(_BOM) :] if has_bom else raw)
    if not line.strip():
        raise InvalidInput("Expected a header in the first line. Received: nothing", field=(field,))
    return has_bom, line


def _header_of(line: str, known: Collection[str], field: str) -> tuple[tuple[str, ...], str]:
    try:
        splits = {one: _split(line, one) for one in _DELIMITERS}
    except csv.Error as error:
        raise InvalidInput(
            f"Expected a header in the first line. Received: {error}", field=(field,)
        ) from error
    # The right one finds names that we know, and cuts the line into most cells.
    names = {one: {column.strip().casefold() for column in splits[one]} for one in splits}
    delimiter = max(splits, key=lambda one: (len(names[one] & {*known}), len(splits[one])))
    return splits[delimiter], delimiter


def _require_columns(form: Form) -> None:
    names = [column.strip().casefold() for column in form.columns]
    if not form.names_images and not {*_TEXTS} & {*names}:
        shown = ", ".join(form.columns)[:300]
        raise InvalidInput(
            "Expected a column `designation`, `description` or `image`. "
            f"Received the columns: {shown}",
            field=("products",),
        )


def _object_of(line: str, number: int, field: str = "products") -> dict[str, str]:
    try:
        found = json.loads(line)
        if isinstance(found, dict):
            return {_encodable(key): _text(value) for key, value in found.items()}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"Expected a JSON object in line {number}. Received: {error}", field=(field,)
        ) from error
    raise InvalidInput(
        f"Expected a JSON object in line {number}. Received: {type(found).__name__}",
        field=(field,),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _encodable(text: str) -> str:
    # JSON can escape half a character, which no file, message or database can hold.
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def _decoded(raw: bytes) -> str:
    # Rows that another program added are often in another encoding than the rest of the file.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")
