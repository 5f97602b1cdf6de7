"""Reasons in the results of a catalog: why rows have no answer, or one that leaves inputs out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Columns of an answer. One that the upload has already gets the prefix, or also a number.
_STATUS, _MESSAGE, _PREFIX = "status", "rayon_message", "rayon_"


@dataclass(frozen=True)
class RowMessage:
    """Reason for the state of a row.

    Attributes:
        row: Number of the row in the uploaded file, from 1.
        status: `done` for an answer that does not use every input; `failed`, `rejected` or
            `cancelled` for a row without an answer.
        message: A sentence; the status for a row without one.
    """

    row: int
    status: str
    message: str


def read_messages(results: Path) -> Iterator[RowMessage]:
    """Iterate over the rows in a JSON Lines file of results that have a reason or no answer."""
    with results.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            status, message = _answer(row, _STATUS) or "", _answer(row, _MESSAGE)
            if message or status != "done":
                yield RowMessage(number, status, message or status)


def _answer(row: dict[str, object], column: str) -> str | None:
    """Return an answer column; uploaded columns with similar names come before it."""
    for name in reversed(row):
        plain = name.removeprefix(_PREFIX).rstrip("0123456789").rstrip("_")
        if plain == column.removeprefix(_PREFIX):
            value = row[name]
            return None if value is None else str(value)
    return None
