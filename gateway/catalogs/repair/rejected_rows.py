"""The rejected rows of a catalog with their cells as uploaded, in a file beside the table.

The file of errors that people download has its cells escaped for spreadsheets, so it cannot be read
back; and a search in a large table would take seconds for each repaired cell.
"""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from gateway.catalogs.products import product_rows
from gateway.catalogs.repair.changed_rows import fields_of
from gateway.catalogs.row_check import Checked, Terms, checked_rows
from gateway.catalogs.service import ERRORS, folder_of
from shared.db.models import Catalog
from shared.errors import NotFound
from shared.storage import Storage
from shared.tables.form import Form
from shared.tables.json_lines import cells_of
from shared.tables.rows import Problem, Row

REJECTED = "rejected.jsonl"


@dataclass(frozen=True)
class RejectedRow:
    """A rejected row as it was uploaded, and the problem that the check found."""

    row: Row
    problem: Problem


def line_of(found: Checked) -> str:
    """Return the line of a rejected row."""
    row, problem = found.row, found.problem
    assert problem is not None  # noqa: S101 - narrows the type: the row was rejected
    kept = {
        "row": row.number,
        "line": row.line,
        "problem": [problem.column, problem.value, problem.reason, problem.code],
        "is_unreadable": row.problem is not None,
        **({"cells": list(row.values)} if row.object is None else {"object": dict(row.object)}),
    }
    return json.dumps(kept, ensure_ascii=False) + "\n"


def rejected_rows(
    storage: Storage,
    catalog: Catalog,
    products: BinaryIO,
    form: Form,
    terms: Terms,
    files: ExitStack,
) -> Iterator[RejectedRow]:
    """Read the rejected rows of a checked catalog in the order of the table.

    Catalogs that an earlier version has checked have no such file; it is made from the table once.

    Args:
        storage: Holds the files.
        catalog: The catalog.
        products: Its table, as plain text.
        form: Form of the table.
        terms: Requirements on the rows.
        files: Closes the file.

    Raises:
        NotFound: The files have been deleted.
        Unavailable: The storage does not answer.
    """
    uri = f"{folder_of(catalog.id)}/{REJECTED}"
    try:
        file = storage.open(uri)
    except NotFound:
        _make(storage, catalog, products, form, terms)
        file = storage.open(uri)
    lines = files.enter_context(io.TextIOWrapper(file, encoding="utf-8"))
    return (_read(json.loads(line), form) for line in lines)


def _read(kept: Mapping[str, Any], form: Form) -> RejectedRow:
    problem = Problem(*kept["problem"])
    sent: dict[str, Any] | None = kept.get("object")
    values = kept["cells"] if sent is None else [*cells_of(sent).values()]
    fields = form.fields if sent is None else fields_of(sent, form)
    unreadable = problem if kept["is_unreadable"] else None
    return RejectedRow(Row(kept["row"], kept["line"], values, fields, sent, unreadable), problem)


def _make(storage: Storage, catalog: Catalog, products: BinaryIO, form: Form, terms: Terms) -> None:
    reasons = _reasons(storage, catalog)
    with tempfile.TemporaryFile() as kept:
        # The archive is gone, so images are no reason unless they were one.
        for found in checked_rows(products, form, None, terms):
            reason = reasons.get(found.row.number)
            if reason is not None:
                problem = found.problem or Problem(
                    "image", found.name[:100], reason, "image_missing"
                )
                line = line_of(Checked(found.row, found.name, problem=problem))
                kept.write(line.encode())
        kept.seek(0)
        storage.put_stream(f"{folder_of(catalog.id)}/{REJECTED}", kept)


def _reasons(storage: Storage, catalog: Catalog) -> dict[int, str]:
    with storage.open(f"{folder_of(catalog.id)}/{ERRORS}") as file:
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        next(rows, None)
        return {int(row[0]): row[4] for row in rows}


def rows_numbered(products: BinaryIO, form: Form, numbers: set[int]) -> dict[int, Row]:
    """Return some rows of a table by number. Reads the table up to the last of them."""
    found: dict[int, Row] = {}
    last = max(numbers, default=0)
    for row in product_rows(products, form) if last else ():
        if row.number in numbers:
            found[row.number] = row
        if row.number >= last:
            break
    return found
