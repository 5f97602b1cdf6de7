"""Read the lines of a table as text, with bounds on a row's size and on repeated reading."""

from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

#: Longest accepted row, which the reader holds in memory; a description has a few kilobytes.
MAX_ROW_BYTES = 1024 * 1024
#: Bytes that may be read again for each byte of the file, to separate rows with open quotes from
#: the rows after them. Without a bound, a file in which every line opens a quote takes hours.
READ_AGAIN = 8


class TooLong(Exception):
    """A line, or the lines of a row, are longer than `MAX_ROW_BYTES`."""


class NotClosed(Exception):
    """A quote is open at the line's end, and the lines after it may not be read again."""


class RowLines:
    """Iterate over the lines of a file; lines taken for the current row can be returned.

    Returned lines are read again, each once as the beginning of a row; beyond that, no more than
    `READ_AGAIN` allows.

    Attributes:
        taken: Lines of the current row.
        size: Characters of the current row.
        is_cut: True if the file ended inside a quote of the current row.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
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

    def give_back(self) -> None:
        """Return all but the first line of the current row, to be read again."""
        self._returned.extendleft(reversed(self.taken[1:]))
        self._last -= len(self.taken) - 1

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
        return decoded(raw)


def decoded(raw: bytes) -> str:
    """Decode a line as UTF-8, or as Windows-1252 where that fails."""
    # Rows that another program appended are often in another encoding than the rest of the file.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")
