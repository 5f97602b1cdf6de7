"""A row of a table with some of its cells changed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.tables.columns import PRODUCT_NAMES, matched, unique
from shared.tables.form import Form
from shared.tables.json_lines import cells_of
from shared.tables.rows import Row


def columns_of(form: Form) -> list[str]:
    """Return the names of the columns by which cells are changed; repeated ones are numbered."""
    return unique(form.columns)


def cells_by_column(row: Row, form: Form) -> dict[str, str]:
    """Return the cells of a row by column; those that the row lacks are empty."""
    columns = columns_of(form)
    if row.object is not None:
        return {**dict.fromkeys(columns, ""), **cells_of(row.object)}
    cells = [*row.values, *[""] * (len(columns) - len(row.values))]
    return dict(zip(columns, cells, strict=False))


def changed(row: Row, form: Form, cells: Mapping[str, str]) -> Row:
    """Return a row with changed cells; with any, a row that could not be read becomes readable.

    Args:
        row: The row as uploaded.
        form: Form of the table.
        cells: New cells by column (`columns_of`, or a key of an object of JSON Lines).
    """
    if not cells:
        return row
    if row.object is not None:
        sent = {**row.object, **cells}
        values = [*cells_of(sent).values()]
        return replace(row, values=values, fields=fields_of(sent, form), object=sent, problem=None)
    found = {**cells_by_column(row, form), **cells}
    return replace(row, values=[*found.values()], fields=form.fields, problem=None)


def fields_of(sent: Mapping[str, Any], form: Form) -> Mapping[str, int]:
    """Return the position of each field in an object of JSON Lines."""
    stated = {
        name: column for name, column in form.given.items() if column is None or column in sent
    }
    return matched(tuple(sent), PRODUCT_NAMES, stated)
