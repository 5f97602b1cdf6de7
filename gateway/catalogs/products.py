"""Read the tables of catalogs: plain or packed files, and the fields of a product in a row."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO

from gateway.web.fields import unknown_field
from gateway.web.validation_messages import kind_of as json_kind_of
from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES, matched
from shared.tables.dialect import Dialect
from shared.tables.form import Form, form_kept, form_of, require_columns
from shared.tables.rows import Row, rows_of
from shared.tables.unpack import kind_of, unpack

TABLE = "products"
CHALLENGE_IMAGE = ("imageid", "productid")
#: Fields of which a catalog needs one.
NEEDED = ("designation", "description", "image")
#: Fields whose column a sender may state.
STATED = ("designation", "description", "image")
#: Column of each field as the sender states it; `None` for none.
Columns = Mapping[str, str | None]
#: Workbooks up to this size are read while the sender waits, larger ones only by the check.
EAGER_BYTES = 2 * 1024 * 1024


def require_table(
    stream: BinaryIO, given: Columns, max_bytes: int, *, needs_fields: bool = True
) -> Form | None:
    """Check the columns of an upload; `None` for packed files that are too large to unpack now.

    Args:
        stream: The file.
        given: Column of a field as the sender states it.
        max_bytes: Largest plain table that a packed one may unpack to.
        needs_fields: False to accept a table whose columns are not recognised.

    Raises:
        InvalidInput: The file is not a table, or has none of the columns.
    """
    read = product_form if needs_fields else detected_form
    if kind_of(stream, TABLE) != "plain" and stream.seek(0, 2) > EAGER_BYTES:
        return None
    with ExitStack() as files:
        limit = min(max_bytes, 64 * EAGER_BYTES)
        return read(unpack(stream, files, max_bytes=limit, table=TABLE), given)


def product_form(stream: BinaryIO, given: Columns) -> Form:
    """Detect the form of a plain product table.

    Raises:
        InvalidInput: The file is not a table, or has none of the columns.
    """
    form = detected_form(stream, given)
    require_fields(form)
    return form


def detected_form(stream: BinaryIO, given: Columns) -> Form:
    """Detect the form of a plain table, whether or not it has a column of a product.

    Raises:
        InvalidInput: The file is not a table, or lacks a stated column.
    """
    return form_of(stream, PRODUCT_NAMES, given, table=TABLE)


def require_fields(form: Form) -> None:
    """Check that a table has a column of a product. Raises `InvalidInput`."""
    if not {*CHALLENGE_IMAGE} <= form.fields.keys():
        require_columns(form, NEEDED, PRODUCT_NAMES, TABLE)


def form_in(stream: BinaryIO, report: Mapping[str, Any]) -> Form:
    """Return the form of a checked table from the report of its check.

    Raises:
        InvalidInput: The file has changed since the check.
    """
    if "form" in report:
        form = form_kept(stream, report["form"], TABLE)
        keys = tuple(report["columns"])
        return form if form.dialect is not None else form.with_columns(keys or form.columns)
    return _form_of_old(stream, report)


def _form_of_old(stream: BinaryIO, report: Mapping[str, Any]) -> Form:
    """Return the form of a table that Rayon 0.2 has checked."""
    delimiter = report["delimiter"]
    kept: dict[str, Any] = {
        "columns": report["columns"],
        "dialect": vars(Dialect(delimiter)) if delimiter else None,
        "has_bom": report["has_bom"],
        "skipped": 1 if delimiter else 0,
    }
    form = form_kept(stream, kept, TABLE)
    return form.with_fields(matched(form.columns, PRODUCT_NAMES))


def product_rows(stream: BinaryIO, form: Form) -> Iterator[Row]:
    """Read the rows of a product table from its beginning."""
    return rows_of(stream, form, PRODUCT_NAMES)


def names_images(form: Form) -> bool:
    """Return True if the columns can name an image."""
    return "image" in form.fields or {*CHALLENGE_IMAGE} <= form.fields.keys()


def image_name(row: Row) -> str:
    """Return the name of a row's image; empty if it names none.

    The challenge names an image by two numbers, which some tools write as `3804725264.0`.
    """
    if "image" in row.fields:
        return row.get("image").strip()
    image, product = (_whole(row.get(name)) for name in CHALLENGE_IMAGE)
    return f"image_{image}_product_{product}.jpg" if image and product else ""


def _whole(cell: str) -> str:
    number, _, decimals = cell.strip().partition(".")
    return number if number.isdecimal() and not decimals.strip("0") else cell.strip()


def stated_columns(given: Any) -> dict[str, str | None]:
    """Return the column of each field as the sender states it; `None` for none.

    Raises:
        InvalidInput: The value is not an object of known fields and column names.
    """
    if not isinstance(given, dict):
        raise InvalidInput(
            f'Expected an object such as {{"designation": "Nom"}}. Received: {json_kind_of(given)}',
            field=("columns",),
        )
    for name, column in given.items():
        if name not in STATED:
            raise InvalidInput(unknown_field(name, STATED), field=("columns", name))
        if not isinstance(column, str | None):
            raise InvalidInput(
                f"Expected the name of a column for `{name}`. Received: {json_kind_of(column)}",
                field=("columns", name),
            )
    # Without images, the two numbers that name one in the challenge are ordinary columns.
    has_no_image = "image" in given and given["image"] is None
    return {**given, **(dict.fromkeys(CHALLENGE_IMAGE) if has_no_image else {})}
