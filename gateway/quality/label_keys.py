"""Find the catalog row of a label by row number, job ID or `productid`."""

from collections.abc import Callable
from typing import BinaryIO

from gateway.catalogs.tables.product_file import rows_of
from gateway.catalogs.tables.table_format import Form
from shared.db.models import ROW_DIGITS, Catalog, row_job_id, row_of_job
from shared.errors import InvalidInput

#: Columns that identify a label's row; the first one that the file has is used.
JOB, ROW, PRODUCT = "job_id", "row", "productid"
KEYS = (JOB, ROW, PRODUCT)
#: Longest `productid`; all of a catalog's are held in memory.
PRODUCT_CHARACTERS = 255
NO_JOB = "Expected a row of the catalog with a job. Received: row {}"


def by_row(rows: int) -> Callable[[str], int]:
    """Return a reader of row numbers for a catalog with so many rows."""

    def read(cell: str) -> int:
        if not cell.isdecimal() or not 0 < (number := int(cell[:20])) < 16**ROW_DIGITS:
            raise InvalidInput(f"Expected a row number from 1. Received: {cell[:40]!r}")
        return _existing(number, rows)

    return read


def _existing(number: int, rows: int) -> int:
    # The label of every row is held in memory, so there must not be more than the catalog's rows.
    if number > rows:
        raise InvalidInput(NO_JOB.format(number))
    return number


def by_job(catalog: Catalog) -> Callable[[str], int]:
    """Return a reader of job IDs for a catalog."""

    def read(cell: str) -> int:
        try:
            number = row_of_job(cell)
        except ValueError:
            number = 0
        if number and row_job_id(catalog.id, number) == cell:
            return _existing(number, catalog.rows)
        raise InvalidInput(f"Expected a job of this catalog. Received: {cell[:40]!r}")

    return read


def by_product(products: dict[str, list[int]]) -> Callable[[str], int]:
    """Return a reader of product IDs, from the row numbers of each."""

    def read(cell: str) -> int:
        numbers = products.get(cell, [])
        if len(numbers) != 1:
            found = f"{len(numbers)} rows with" if numbers else "no row with"
            raise InvalidInput(
                f"Expected a product of exactly one row. Received: {found} {cell[:40]!r}"
            )
        return numbers[0]

    return read


def rows_by_product(products: BinaryIO, form: Form) -> dict[str, list[int]]:
    """Return the row numbers of each `productid`. Raises `InvalidInput` without that column."""
    column = next((name for name in form.columns if name.strip().casefold() == PRODUCT), None)
    if column is None:
        raise InvalidInput(
            f"The catalog has no column `{PRODUCT}`; identify rows by `{ROW}`", field=("labels",)
        )
    found: dict[str, list[int]] = {}
    for row in rows_of(products, form):
        product = row.cells.get(column, "").strip()
        if len(product) <= PRODUCT_CHARACTERS:
            found.setdefault(product, []).append(row.number)
    return found
