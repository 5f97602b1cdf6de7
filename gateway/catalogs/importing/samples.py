"""Sample of an uploaded table: its header and first rows, with the column of each field."""

import hashlib
import json
from itertools import islice
from typing import BinaryIO

from gateway.catalogs.products import product_rows
from shared.tables.form import Form

#: Rows of a sample, characters of a cell, and characters of all cells together.
ROWS = 5
CELL_CHARACTERS = 200
MOST_CHARACTERS = 100_000


def header_digest(form: Form) -> str:
    """Return a digest of the columns of a table, by which the same header is recognised."""
    content = json.dumps([form.kind, *form.columns]).encode()
    return hashlib.sha256(content).hexdigest()


def sample_of(products: BinaryIO, form: Form, *, is_remembered: bool) -> bytes:
    """Return the sample of a plain table as JSON.

    Args:
        products: The table.
        form: Its form.
        is_remembered: True if the columns are those that the user stated for an earlier table.
    """
    left, rows = MOST_CHARACTERS, []
    for row in islice(product_rows(products, form), ROWS):
        cells = [cell[:CELL_CHARACTERS] for cell in row.values_of(form)]
        left -= sum(map(len, cells))
        if left < 0:
            break
        rows.append({"line": row.line, "cells": cells})
    values = {
        "columns": list(form.columns),
        "rows": rows,
        "used_columns": form.used,
        "remembered": is_remembered,
    }
    return json.dumps(values, ensure_ascii=False).encode()
