"""The tables of a dataset: products, labels and categories, with the names of their columns."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import BinaryIO

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES, nearest, normalized, shown
from shared.tables.form import Form, Names, form_of, require_columns
from shared.tables.unpack import unpack

CODE, ID, CATEGORY = "prdtypecode", "id", "category"
#: Names of the column of category codes.
CODE_NAMES = (CODE, "code", "category code", "code categorie", "code de categorie")
#: Names of the column of categories as a shop has them: texts, paths in a tree, or codes.
CATEGORY_NAMES = (
    CATEGORY,
    "categorie",
    "label",
    "rayon",
    "categories",
    "category name",
    "nom de la categorie",
    "nom categorie",
    "libelle categorie",
    "categorie produit",
    "categorie du produit",
    "product category",
    "category path",
    "chemin",
    "product type",
    "type de produit",
    "famille",
    "univers",
    "etiquette",
    "classe",
    "class",
    "google product category",
)
PRODUCTS, LABELS, CATEGORIES, SPLITS = "products", "labels", "categories", "splits"
#: Names of the columns of each table, the preferred ones first.
NAMES: Mapping[str, Names] = {
    PRODUCTS: {
        **PRODUCT_NAMES,
        ID: (ID, "identifiant", "product id", "sku", "ugs", "reference"),
        CODE: CODE_NAMES,
        CATEGORY: CATEGORY_NAMES,
    },
    LABELS: {CODE: CODE_NAMES, CATEGORY: CATEGORY_NAMES},
    CATEGORIES: {
        CODE: CODE_NAMES,
        CATEGORY: (*CATEGORY_NAMES[:3], "name", "nom", "libelle", *CATEGORY_NAMES[3:]),
        "official_share": ("official share",),
    },
    SPLITS: {"split": ("split",)},
}
#: Largest plain table that a file may unpack to.
MAX_TABLE_BYTES = 2 * 1024**3
#: Headings of a first column that contains row numbers; the last one is of pandas.
_INDEX_NAMES = ("", "index", "unnamed 0")
_PRODUCT_FIELDS = ("designation", "description", "image")
_CHALLENGE_IMAGE = {"imageid", "productid"}


def dataset_form(
    stream: BinaryIO, table: str, files: ExitStack, *, max_bytes: int = MAX_TABLE_BYTES
) -> tuple[BinaryIO, Form]:
    """Unpack a table of a dataset and detect its form.

    Args:
        stream: The file: CSV, JSON or a workbook, also packed; products with their images.
        table: Key of `NAMES`, and the request field that an error names.
        files: Holds temporary files, which last until it is closed.
        max_bytes: Largest plain table.

    Raises:
        InvalidInput: The file is not a table, or lacks a column that the table needs.
    """
    has_images = table == PRODUCTS
    plain = unpack(stream, files, max_bytes=max_bytes, table=table, with_images=has_images)
    form = form_of(plain, NAMES[table], table=table)
    if table == PRODUCTS:
        if not form.fields.keys() >= _CHALLENGE_IMAGE:
            require_columns(form, _PRODUCT_FIELDS, NAMES[table], table)
    elif table == LABELS:
        require_columns(form, (CODE, CATEGORY), NAMES[table], table)
    else:
        _require_first(form, NAMES[table], table)
    return plain, form


def require_labels(form: Form) -> None:
    """Check that a table of products has a column of labels.

    Raises:
        InvalidInput: It has none; the error lists its columns and the nearest name.
    """
    # A key of JSON Lines may occur for the first time in any row.
    if form.dialect is None or {CODE, CATEGORY} & {*form.fields}:
        return
    hint = nearest((*CODE_NAMES, *CATEGORY_NAMES), form.columns)
    raise InvalidInput(
        f"Expected a column `{CODE}` or `{CATEGORY}`, or the file `{LABELS}`. "
        f"Received the columns: {shown(form.columns)}{hint}",
        field=(PRODUCTS,),
    )


def has_row_numbers(form: Form) -> bool:
    """Return True if the first column contains row numbers."""
    return bool(form.columns) and normalized(form.columns[0]) in _INDEX_NAMES


def _require_first(form: Form, names: Mapping[str, Sequence[str]], table: str) -> None:
    own = next(iter(names))
    if own not in form.fields:
        raise InvalidInput(
            f"Expected a column `{own}`. Received the columns: {shown(form.columns)}"
            f"{nearest(names[own], form.columns)}",
            field=(table,),
        )
