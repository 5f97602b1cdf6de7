"""Columns are matched to the fields of a product by the names that shops use."""

import pytest

from shared.errors import InvalidInput
from shared.tables.columns import PRODUCT_NAMES, matched, nearest, normalized, unique

WOOCOMMERCE = (
    "ID",
    "Type",
    "SKU",
    "Name",
    "Published",
    "Short description",
    "Description",
    "Images",
)
WOOCOMMERCE_FR = (
    "ID",
    "Type",
    "UGS",
    "Nom",
    "Publié",
    "Description courte",
    "Description",
    "Images",
)
SHOPIFY = ("Handle", "Title", "Body (HTML)", "Vendor", "Type", "Variant SKU", "Image Src")
PRESTASHOP = (
    "Product ID",
    "Active (0/1)",
    "Name *",
    "Summary",
    "Description",
    "Image URLs (x,y,z...)",
)
PRESTASHOP_FR = ("ID", "Actif (0/1)", "Nom *", "Résumé", "Description", "URL des images (x,y,z...)")
AKENEO = ("sku", "categories", "name-fr_FR", "description-fr_FR-ecommerce", "image")
MAGENTO = ("sku", "name", "description", "short_description", "base_image")
GOOGLE = ("id", "title", "description", "image_link", "price")
AMAZON = ("item_sku", "item_name", "product_description", "main_image_url")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (WOOCOMMERCE, (3, 6, 7)),
        (WOOCOMMERCE_FR, (3, 6, 7)),
        (SHOPIFY, (1, 2, 6)),
        (PRESTASHOP, (2, 4, 5)),
        (PRESTASHOP_FR, (2, 4, 5)),
        (AKENEO, (2, 3, 4)),
        (MAGENTO, (1, 2, 4)),
        (GOOGLE, (1, 2, 3)),
        (AMAZON, (1, 2, 3)),
    ],
)
def test_columns_of_shop_exports_are_known(
    columns: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    fields = matched(columns, PRODUCT_NAMES)
    assert tuple(fields[name] for name in ("designation", "description", "image")) == expected


@pytest.mark.parametrize(
    "column",
    [
        "Désignation",
        "DESIGNATION",
        " designation ",
        "\ufeffdesignation",
        "\u200bdesignation",
        "de\u0301signation",
        "designation\n(titre)",
        "Designation :",
        "_designation_",
    ],
)
def test_spelling_of_a_column_is_ignored(column: str) -> None:
    assert matched([column, "x"], PRODUCT_NAMES) == {"designation": 0}


def test_own_name_of_a_field_wins_over_others() -> None:
    columns = ("name", "titre", "designation")
    assert matched(columns, PRODUCT_NAMES)["designation"] == 2


def test_stated_column_wins_over_known_names() -> None:
    fields = matched(("titre", "Mon libellé"), PRODUCT_NAMES, {"designation": "mon libelle"})
    assert fields == {"designation": 1}


def test_stated_column_that_is_missing_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"Did you mean 'Libelle_2'\?"):
        matched(("sku", "Libelle_2"), PRODUCT_NAMES, {"designation": "Libelé 2"})


def test_column_with_a_fields_own_name_may_occur_once() -> None:
    with pytest.raises(InvalidInput, match=r"once\. Received: it 2 times"):
        matched(("designation", "Désignation"), PRODUCT_NAMES)


def test_one_column_serves_one_field() -> None:
    fields = matched(("titre", "x"), PRODUCT_NAMES, {"description": "titre"})
    assert fields == {"description": 0}


def test_nearest_column_is_suggested() -> None:
    assert "'Desgnation' as `designation`" in nearest(["designation"], ["Desgnation", "ref"])
    assert nearest(["designation"], ["ref", "prix"]) == ""


def test_repeated_columns_get_numbers() -> None:
    assert unique(["Tag", "Tag", "Tag_2", "x"]) == ["Tag", "Tag_2", "Tag_2_2", "x"]


def test_normalized_name_is_compared_by_words() -> None:
    assert normalized("Nom  du-Produit\r\n") == "nom du produit"
