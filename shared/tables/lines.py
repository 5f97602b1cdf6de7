"""Read the lines of a table as text, with bounds on a row's size and on repeated reading."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from shared.tables.encoding import decoded

#: Longest accepted row, which the reader holds in memory; a description has a few kilobytes.
MAX_ROW_BYTES = 1024 * 1024
#: Bytes that may be read again for each byte of the file, to separate rows with open quotes from
#: the rows after them. Without a bound, a file in which every line opens a quote takes hours.
READ_AGAIN = 8
#: The end of a line: of Unix, of Windows, and of old Macs where a line contains other lines.
_ENDS = re.compile(r"(?<=\r)(?!\n)(?=.)", re.DOTALL)
#: A quote that is escaped by a backslash, which is not itself escaped.
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')


class LineSource(Protocol):
    """Part of a binary file that is used here."""

    def readline(self, size: int = -1, /) -> bytes:
        """Read up to the end of a line, or `size` bytes."""


class ByteSource(Protocol):
    """Part of a binary file that `MacLines` uses."""

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes."""


class TooLong(Exception):
    """A line, or the lines of a row, are longer than `MAX_ROW_BYTES`."""


class NotClosed(Exception):
    """A quote is open at the line's end, and the lines after it may not be read again."""


class RowLines:
    r"""Iterate over the lines of a file; lines taken for the current row can be returned.

    Returned lines are read again, each once as the beginning of a row; beyond that, no more than
    `READ_AGAIN` allows.

    Args:
        stream: The file, at the beginning of a line.
        legacy: Encoding of lines that are not UTF-8; Windows-1252 by default.
        has_backslashes: True to replace the `\"` that some exports write for a quote by `""`.

    Attributes:
        taken: Lines of the current row.
        size: Characters of the current row.
        is_cut: True if the file ended inside a quote of the current row.
    """

    def __init__(
        self, stream: LineSource, legacy: str | None = None, *, has_backslashes: bool = False
    ) -> None:
        self._stream = stream
        self._legacy = legacy
        self._has_backslashes = has_backslashes
        self._returned: deque[str] = deque()
        self._last = 0
        self._may_read_again = 0
        self.taken: list[str] = []
        self.size = 0
        self.is_cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._returned and self.taken:
            if len(self._returned[0]) > self._may_read_again:
                raise NotClosed
            self._may_read_again -= len(self._returned[0])
        line = self._returned.popleft() if self._returned else self._read()
        self._last += 1
        self.taken.append(line)
        self.size += len(line)
        if self.size > MAX_ROW_BYTES:
            raise TooLong
        return line

    @property
    def line(self) -> int:
        """Number of the current row's first line, from 1."""
        return self._last - len(self.taken) + 1

    def begin_row(self) -> None:
        """Start a new row."""
        self.taken, self.size, self.is_cut = [], 0, False

    def give_back(self) -> bool:
        """Return all but the first line of the current row, to be read again; False if none."""
        self._return(self.taken[1:])
        return len(self.taken) > 1

    def restart_row(self) -> None:
        """Return all lines of the current row, to be read again as this row."""
        self._return(self.taken)
        self.begin_row()

    def _return(self, lines: list[str]) -> None:
        self._returned.extendleft(reversed(lines))
        self._last -= len(lines)

    def _read(self) -> str:
        raw = self._stream.readline(MAX_ROW_BYTES + 1)
        if not raw:
            # The CSV reader requests a further line only inside quotes.
            self.is_cut = bool(self.taken)
            raise StopIteration
        self._may_read_again += READ_AGAIN * len(raw)
        if len(raw) > MAX_ROW_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = self._stream.readline(MAX_ROW_BYTES)
            self._last += 1
            self.taken.append("")
            raise TooLong
        line = decoded(raw, self._legacy)
        if "\0" in line:
            # No message or database can store it.
            line = line.replace("\0", "\ufffd")
        if self._has_backslashes and "\\" in line:
            line = _ESCAPED_QUOTE.sub(r'\1""', line)
        if line.find("\r", 0, -2) >= 0:
            line, *others = _ENDS.split(line)
            self._returned.extend(others)
        return line


class MacLines:
    """A file whose lines end with a carriage return alone, with line feeds instead.

    Args:
        stream: The file, open for reading.
    """

    def __init__(self, stream: ByteSource) -> None:
        self._stream = stream
        self._rest = b""

    def readline(self, size: int = -1, /) -> bytes:
        """Read up to the end of a line, or `size` bytes."""
        limit = size if size > 0 else MAX_ROW_BYTES
        while b"\n" not in self._rest and len(self._rest) < limit:
            piece = self._stream.read(64 * 1024)
            if not piece:
                break
            self._rest += piece.replace(b"\r", b"\n")
        end = self._rest.find(b"\n", 0, limit) + 1 or min(limit, len(self._rest))
        line, self._rest = self._rest[:end], self._rest[end:]
        return line
