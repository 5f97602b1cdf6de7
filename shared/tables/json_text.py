"""Convert JSON arrays and objects over many lines to JSON Lines."""

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import ijson

from shared.errors import InvalidInput
from shared.tables.json_lines import kind_of
from shared.tables.lines import MAX_ROW_BYTES

#: Bytes that the parser reads at once.
BUFFER_BYTES = 64 * 1024
#: Size up to which a broken file is parsed again to tell line and column.
EXACT_BYTES = 16 * 1024 * 1024


def json_lines(stream: BinaryIO, table: str) -> Iterator[bytes]:
    """Yield each object of a file as a line.

    Args:
        stream: An array of objects, or objects one after the other.
        table: The request field of the file, which an error names.

    Raises:
        InvalidInput: The file is not JSON, has a value that is not an object, or an object of more
            than 1 MiB.
    """
    first = stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    stream.seek(0)
    source = _Bounded(stream, table)
    prefix = "item" if first == b"[" else ""
    try:
        items = ijson.items(
            source, prefix, multiple_values=True, use_float=True, buf_size=BUFFER_BYTES
        )
        for number, item in enumerate(items, start=1):
            source.begin()
            if not isinstance(item, dict):
                raise InvalidInput(
                    f"Expected JSON objects. Received: {kind_of(item)} as number {number}",
                    field=(table,),
                )
            yield json.dumps(item, ensure_ascii=False).encode(errors="replace") + b"\n"
    except (ijson.JSONError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"Expected JSON, one object a line or an array of objects. Received: "
            f"{_reason(stream, error)}",
            field=(table,),
        ) from error


class _Bounded:
    """A file that refuses to be read further within an object than its limit."""

    def __init__(self, stream: BinaryIO, table: str) -> None:
        self._stream = stream
        self._table = table
        self._read = 0
        self._has_begun = False

    def begin(self) -> None:
        """Note that an object has ended."""
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Read bytes. Raises `InvalidInput` within an object that is too large."""
        content = self._stream.read(size)
        if not self._has_begun:
            self._has_begun = True
            content = content.removeprefix(b"\xef\xbb\xbf")
        self._read += len(content)
        if self._read > 2 * MAX_ROW_BYTES + BUFFER_BYTES:
            raise InvalidInput(
                "Expected objects of at most 1 MiB. Received: a longer one", field=(self._table,)
            )
        return content


def _reason(stream: BinaryIO, error: Exception) -> str:
    """Return why a file is not JSON, with line and column where the file is small enough."""
    size = stream.seek(0, io.SEEK_END)
    if size > EXACT_BYTES:
        return str(error).split("\n", 1)[0]
    stream.seek(0)
    text = stream.read().decode("utf-8-sig", errors="replace")
    position = 0
    decoder = json.JSONDecoder(parse_constant=_refuse)
    try:
        while position < len(text):
            position += len(text[position:]) - len(text[position:].lstrip())
            if position < len(text):
                _, position = decoder.raw_decode(text, position)
    except json.JSONDecodeError as fault:
        return f"{fault.msg} in line {fault.lineno}, column {fault.colno}"
    except (ValueError, RecursionError) as fault:
        return str(fault)
    return str(error).split("\n", 1)[0]


def _refuse(name: str) -> Any:
    raise ValueError(f"{name}, which is not JSON; write null instead")
