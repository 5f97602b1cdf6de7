"""Read rows page by page, so that long or wide rows take no more memory than short ones."""

from collections.abc import Iterator

from shared.tables.rows import Row

#: Rows of a page, and the size at which it ends earlier: characters of its cells, each cell
#: counting `CELL_CHARACTERS` more for its object and its place in the row.
PAGE = 1_000
PAGE_CHARACTERS = 8_000_000
CELL_CHARACTERS = 100


def next_page(rows: Iterator[Row]) -> list[Row]:
    """Return the next rows; empty at the end."""
    found: list[Row] = []
    size = 0
    for row in rows:
        found.append(row)
        size += sum(map(len, row.values)) + CELL_CHARACTERS * len(row.values)
        if len(found) >= PAGE or size >= PAGE_CHARACTERS:
            break
    return found
