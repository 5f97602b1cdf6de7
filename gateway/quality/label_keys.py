"""Find the catalog row of a label by row number, job ID or `productid`."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from shared.db.models import ROW_DIGITS, Catalog, row_job_id, row_of_job
from shared.errors import InvalidInput, Unavailable
from shared.tables.dataset_tables import CATEGORY, CATEGORY_NAMES, CODE, CODE_NAMES
from shared.tables.form import Form
from shared.tables.rows import Row

#: Columns that identify a label's row; the first one that the file has is used.
JOB, ROW, PRODUCT = "job_id", "row", "productid"
KEYS = (JOB, ROW, PRODUCT)
#: Names of the columns of a file of labels.
LABEL_NAMES = {
    JOB: ("job id", "job"),
    ROW: ("row", "ligne", "numero de ligne", "row number"),
    PRODUCT: ("productid", "product id"),
    CODE: CODE_NAMES,
    CATEGORY: CATEGORY_NAMES,
}
#: Longest `productid`.
PRODUCT_CHARACTERS = 255
#: The database is private and temporary: nothing is lost without a journal. 8 MiB are cached.
_PREPARE = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -8192",
    "CREATE TABLE products (product TEXT PRIMARY KEY, row INTEGER, count INTEGER) WITHOUT ROWID",
    "BEGIN",
)
_ADD = "INSERT INTO products VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1"
_FIND = "SELECT row, count FROM products WHERE product = ?"
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


class ProductRows:
    """Row number of each `productid` of a catalog, in a temporary database on disk.

    A million products would take hundreds of megabytes in memory.

    Args:
        rows: Number of the catalog's rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._folder = TemporaryDirectory(prefix="rayon-products-")
        # Each step of a file of labels may run in another thread, one at a time.
        self._database = sqlite3.connect(
            Path(self._folder.name) / "products", isolation_level=None, check_same_thread=False
        )
        for statement in _PREPARE:
            self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the temporary database."""
        self._database.close()
        self._folder.cleanup()

    def add(self, products: Iterable[tuple[str, int]]) -> None:
        """Add products with their row numbers. Raises `Unavailable` if the local disk is full."""
        try:
            self._database.executemany(_ADD, products)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"The local disk cannot hold the products: {error}") from error

    def row_of(self, cell: str) -> int:
        """Return the only row of a product. Raises `InvalidInput` if there is none, or several."""
        number, count = self._database.execute(_FIND, (cell,)).fetchone() or (0, 0)
        if count != 1:
            found = f"{count} rows with" if count else "no row with"
            raise InvalidInput(
                f"Expected a product of exactly one row. Received: {found} {cell[:40]!r}"
            )
        return _existing(number, self._rows)


def products_of(rows: Iterable[Row]) -> Iterator[tuple[str, int]]:
    """Return the products of rows, each with its row number."""
    for row in rows:
        product = row.get(PRODUCT).strip()
        if len(product) <= PRODUCT_CHARACTERS:
            yield product, row.number


def require_products(form: Form) -> None:
    """Check that a catalog has the column `productid`. Raises `InvalidInput` if it has none."""
    if PRODUCT not in form.fields:
        raise InvalidInput(
            f"The catalog has no column `{PRODUCT}`; identify rows by `{ROW}`", field=("labels",)
        )
