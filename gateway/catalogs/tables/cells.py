"""Split lines into cells, and read a product's title, description and image name from them."""

import csv
import json
import re
from collections.abc import Callable
from typing import Any

from gateway.catalogs.tables.row_lines import MAX_ROW_BYTES
from shared.errors import InvalidInput

#: The columns that have a meaning; all others are returned unchanged with the results.
TEXT_COLUMNS = ("designation", "description")
CHALLENGE_IMAGE_COLUMNS = ("imageid", "productid")
PRODUCT_COLUMNS = frozenset({*TEXT_COLUMNS, "image", *CHALLENGE_IMAGE_COLUMNS})
_SURROGATE = re.compile("[\ud800-\udfff]")

#: Reads one field of a product from the cells of its row.
FieldReader = Callable[[dict[str, str]], str]


def split_line(line: str, delimiter: str) -> tuple[str, ...]:
    """Split one line of CSV into cells. Raises `csv.Error`."""
    allow_long_cells()
    return tuple(next(csv.reader([line], delimiter=delimiter), ()))


def allow_long_cells() -> None:
    """Raise the CSV library's cell limit, which is below our row limit and process-wide."""
    csv.field_size_limit(2 * MAX_ROW_BYTES)


def object_cells(line: str, number: int, field: str = "products") -> dict[str, str]:
    """Parse a line of JSON Lines into cells by key.

    Args:
        line: A JSON object.
        number: The line's number, for the error.
        field: The request field that an error names.

    Raises:
        InvalidInput: The line is not a JSON object.
    """
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


def field_readers(columns: tuple[str, ...]) -> dict[str, FieldReader]:
    """Return a reader for each field of a product that the columns contain, by field name."""
    known = {column.strip().casefold(): column for column in columns}
    readers = {name: _cell(known[name]) for name in TEXT_COLUMNS if name in known}
    if "image" in known:
        readers["image"] = _image_cell(known["image"])
    elif known.keys() >= set(CHALLENGE_IMAGE_COLUMNS):
        readers["image"] = _challenge_image(known["imageid"], known["productid"])
    return readers


def _cell(column: str) -> FieldReader:
    return lambda cells: cells[column]


def _image_cell(column: str) -> FieldReader:
    return lambda cells: cells[column].strip()


def _challenge_image(image: str, product: str) -> FieldReader:
    def name(cells: dict[str, str]) -> str:
        ids = cells[image].strip(), cells[product].strip()
        return f"image_{ids[0]}_product_{ids[1]}.jpg" if all(ids) else ""

    return name


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _encodable(text: str) -> str:
    # JSON can escape half of a surrogate pair, which no file, message or database can store.
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
