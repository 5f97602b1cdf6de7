"""Match the columns of a table to the fields of a product, by the names that shops use."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from shared.errors import InvalidInput

#: Names of each field, the preferred ones first; the first is the field's own. Spelling is
#: compared by `normalized`. Sources: the exports of WooCommerce, Shopify, PrestaShop, Magento and
#: Akeneo, and the feeds of Google Merchant Center and Amazon, in French and English.
PRODUCT_NAMES: Mapping[str, Sequence[str]] = {
    "designation": (
        "designation",
        "titre",
        "titre du produit",
        "title",
        "product title",
        "libelle",
        "libelle produit",
        "libelle du produit",
        "libelle article",
        "nom du produit",
        "nom produit",
        "nom",
        "nom article",
        "product name",
        "name",
        "item name",
        "intitule",
        "produit",
        "designation produit",
        "designation article",
        "product",
        "article",
    ),
    "description": (
        "description",
        "descriptif",
        "description du produit",
        "description produit",
        "product description",
        "body html",
        "body",
        "description longue",
        "long description",
        "texte",
        "details",
        "description courte",
        "short description",
        "resume",
        "summary",
    ),
    "image": (
        "image",
        "images",
        "image principale",
        "main image",
        "photo",
        "photos",
        "photo principale",
        "image 1",
        "image src",
        "image link",
        "image url",
        "image urls",
        "url image",
        "url de l image",
        "url des images",
        "image urls x y z",
        "main image url",
        "base image",
        "image name",
        "nom de l image",
        "image file",
        "fichier image",
        "picture",
        "pictures",
        "visuel",
    ),
    "imageid": ("imageid",),
    "productid": ("productid",),
}
#: Locale and channel that Akeneo appends to the name of an attribute, such as `-fr_FR-ecommerce`.
_LOCALE = re.compile(r"-[a-z]{2}_[A-Z]{2}(-\w+)?$")
_NOTE = re.compile(r"\([^()]*\)")
_NOT_WORD = re.compile(r"[\W_]+")
_MARKS = ("Mn", "Cf", "Cc")
#: Columns that an error lists, and their characters.
_SHOWN_CHARACTERS = 300
#: Smallest similarity of names that counts as a misspelling, from 0 to 1.
_SIMILARITY = 0.75


@lru_cache(maxsize=10_000)
def normalized(name: str) -> str:
    """Return a column name without case, accents, marks, punctuation and repeated spaces."""
    plain = unicodedata.normalize("NFKD", _LOCALE.sub("", name.strip()))
    # Accents and invisible marks; a line break separates words, as a space does.
    kept = (one for one in plain if one.isspace() or unicodedata.category(one) not in _MARKS)
    return _NOT_WORD.sub(" ", "".join(kept).casefold()).strip()


def matched(
    columns: Sequence[str],
    names: Mapping[str, Sequence[str]],
    given: Mapping[str, str | None] | None = None,
    field: str = "products",
) -> dict[str, int]:
    """Return the position of the column of each field.

    Args:
        columns: Columns of the table.
        names: Names of each field, the preferred ones first.
        given: Column of a field as its sender states it, `None` for none; takes precedence over
            the names.
        field: The request field that an error names.

    Raises:
        InvalidInput: A stated column is missing, or a column with a field's own name occurs twice.
    """
    positions: dict[str, int] = {}
    for spelled in (normalized, _without_note):
        for position, column in enumerate(columns):
            positions.setdefault(spelled(column), position)
    found: dict[str, int] = {}
    stated = given or {}
    for name, wanted in stated.items():
        if wanted is not None:
            found[name] = _stated(name, wanted, columns, positions, field)
    for name, aliases in names.items():
        place = next((positions[one] for one in aliases if one in positions), None)
        if name not in stated and place is not None and place not in found.values():
            _require_once(name, aliases[0], columns, field)
            found[name] = place
    return found


def _without_note(column: str) -> str:
    """Return a normalized name without a note in parentheses: `designation (titre)`."""
    return normalized(_NOTE.sub(" ", column)) or normalized(column)


def _stated(
    name: str, column: str, columns: Sequence[str], positions: Mapping[str, int], field: str
) -> int:
    if column in columns:
        return columns.index(column)
    position = positions.get(normalized(column))
    if position is None:
        close = _closest(column, columns)
        hint = f". Did you mean {close!r}?" if close else ""
        raise InvalidInput(
            f"Expected the column {column!r} for `{name}`. Received the columns: "
            f"{shown(columns)}{hint}",
            field=(field,),
        )
    return position


def _require_once(name: str, own: str, columns: Sequence[str], field: str) -> None:
    count = sum(normalized(column) == own for column in columns)
    if count > 1:
        raise InvalidInput(
            f"Expected the column `{name}` once. Received: it {count} times", field=(field, name)
        )


def shown(columns: Sequence[str]) -> str:
    """Return the columns as an error lists them."""
    return ", ".join(columns)[:_SHOWN_CHARACTERS]


def nearest(wanted: Iterable[str], columns: Sequence[str]) -> str:
    """Return a hint with the column whose name is nearest to a wanted one; empty without any."""
    for name in wanted:
        close = _closest(name, columns)
        if close:
            return f". Did you mean {close!r} as `{name}`?"
    return ""


def _closest(name: str, columns: Sequence[str]) -> str | None:
    plain = {normalized(column): column for column in columns}
    close = difflib.get_close_matches(normalized(name), [*plain], 1, _SIMILARITY)
    return plain[close[0]] if close else None


def unique(columns: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return the columns with repeated names numbered: `Tag`, `Tag_2`."""
    used = set(taken)
    names = []
    for column in columns:
        name, number = column, 1
        while name in used:
            number += 1
            name = f"{column}_{number}"
        used.add(name)
        names.append(name)
    return names
