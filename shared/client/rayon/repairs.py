"""Repair rejected rows of a catalog: send its corrected file of errors and its missing images."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rayon.answers import JsonObject
from rayon.connection import Connection
from rayon.errors import RayonError
from rayon.headers import once

#: Columns of the file of errors before those of the upload.
ERROR_COLUMNS = ("row", "line", "column", "value", "reason")
#: Rows that one request reads or changes.
ROWS = 200
#: Delimiters with which spreadsheets write CSV.
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class WrongRow:
    """Row that is still wrong, or that was not changed, and the reason.

    Attributes:
        row: Number of the row, from 1.
        line: Line of the uploaded file on which the row begins; `None` for a row that is not there.
    """

    row: int
    reason: str
    line: int | None = None


@dataclass(frozen=True)
class RepairReport:
    """Outcome of a corrected file of errors.

    Attributes:
        changed: Rows of which a cell was changed.
        ready: Rows that the next run classifies.
        wrong: Changed rows that are still wrong or were refused.
    """

    changed: int
    ready: int
    wrong: tuple[WrongRow, ...]


@dataclass(frozen=True)
class ImageReport:
    """Outcome of added images.

    Attributes:
        rows: Rows that got their image.
        ready: Rows that the next run classifies.
        unused: Images that no row names.
        refused: Images that cannot be used, each with the reason.
    """

    rows: int
    ready: int
    unused: tuple[str, ...]
    refused: tuple[str, ...]


def change_rows(connection: Connection, catalog_id: str, corrected: Path) -> RepairReport:
    """Send the cells of a corrected file of errors that differ from the present ones.

    Raises:
        RayonError: The file is not a file of errors of this catalog.
    """
    rows = _rows_in(corrected)
    changes = list(_changes(connection, catalog_id, rows))
    path = f"/v1/catalogs/{catalog_id}/rows"
    wrong: list[WrongRow] = []
    ready = 0
    there = iter(changes)
    while some := list(islice(there, ROWS)):
        body = connection.json("PATCH", path, json={"rows": some}, headers=once())
        wrong += [found for one in body["items"] if (found := _wrong(one))]
        ready = body["ready"]
    if not changes:
        ready = connection.json("GET", path, params={"limit": 1})["ready"]
    return RepairReport(len(changes), ready, tuple(wrong))


def add_images(connection: Connection, catalog_id: str, images: Iterable[Path]) -> ImageReport:
    """Send images, or ZIP files of images, for the rows that name them."""
    with ExitStack() as opened:
        files = [("images", (one.name, opened.enter_context(one.open("rb")))) for one in images]
        body = connection.json(
            "POST", f"/v1/catalogs/{catalog_id}/images", files=files, headers=once()
        )
    return ImageReport(body["rows"], body["ready"], tuple(body["unused"]), tuple(body["refused"]))


def _changes(
    connection: Connection, catalog_id: str, corrected: Mapping[int, Sequence[str]]
) -> Iterator[JsonObject]:
    """Yield the changes of the rows that are there; the other rows of the file are left out."""
    for columns, item in _present(connection, catalog_id):
        cells = corrected.get(item["row"])
        if cells is None:
            continue
        changed = {
            column: cell
            for column, cell in zip(columns, cells, strict=False)
            # The file has cells that a spreadsheet would run as a formula with an apostrophe.
            if cell not in (item["cells"][column], f"'{item['cells'][column]}")
        }
        if changed:
            yield {"row": item["row"], "cells": changed}


def _present(connection: Connection, catalog_id: str) -> Iterator[tuple[Sequence[str], JsonObject]]:
    query: dict[str, object] = {"limit": ROWS}
    while True:
        page = connection.json("GET", f"/v1/catalogs/{catalog_id}/rows", params=query)
        yield from ((page["columns"], item) for item in page["items"])
        if not page["next_cursor"]:
            return
        query["cursor"] = page["next_cursor"]


def _rows_in(corrected: Path) -> dict[int, list[str]]:
    """Return the cells of the upload by row number."""
    content = corrected.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Excel writes CSV in the encoding of the system.
        text = content.decode("cp1252", errors="replace")
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = tuple(name.strip() for name in next(table, []))
    if columns[: len(ERROR_COLUMNS)] != ERROR_COLUMNS:
        raise RayonError(
            f"Expected a corrected file of --errors, with the columns {', '.join(ERROR_COLUMNS)}. "
            f"Received: {corrected} with {', '.join(columns[:8]) or 'no columns'}"
        )
    rows = (row for row in table if row and row[0].strip().isdecimal())
    return {int(row[0]): row[len(ERROR_COLUMNS) :] for row in rows}


def _wrong(outcome: JsonObject) -> WrongRow | None:
    item = outcome["item"] or {}
    problem = item.get("problem") or {}
    reason = outcome["error"] or problem.get("message")
    return WrongRow(outcome["row"], reason, item.get("line")) if reason else None
