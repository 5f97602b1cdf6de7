"""Category sets: names, paths, and the look-up of a category by the shop's own text."""

import json

import pytest

from shared.categories import Category, CategorySet, label_key, path_of

SHOP = CategorySet.of(
    [
        (1, "Maison > Literie > Couettes"),
        (2, "Maison > Literie > Draps"),
        (3, "Jardin > Accessoires"),
        (4, "Maison > Accessoires"),
    ],
    separator=">",
)


@pytest.mark.parametrize(
    "other",
    [
        "chaussures d'été",
        "CHAUSSURES  D'ETE ",
        "Chaussures\u00a0d'e\u0301te\u0301",
        "Chaussures d'Été\u200b",
    ],
)
def test_case_accents_and_spaces_make_no_other_label(other: str) -> None:
    assert label_key(other) == label_key("Chaussures d'Été")


@pytest.mark.parametrize(
    "other", ["Maison>Literie", "maison › literie", "Maison -> Literie >", "Maison &gt; Literie"]
)
def test_arrows_of_a_path_make_no_other_label(other: str) -> None:
    assert label_key(other) == label_key("Maison > Literie")


def test_punctuation_makes_another_label() -> None:
    assert len({label_key(one) for one in ("C", "C++", "C#", "Café/thé", "Café thé")}) == 5


@pytest.mark.parametrize(
    ("name", "separator", "path"),
    [
        ("Maison > Literie > Couettes", ">", ("Maison", "Literie", "Couettes")),
        ("Maison›Literie", ">", ("Maison", "Literie")),
        ("Maison / Literie", "/", ("Maison", "Literie")),
        ("CD/DVD", ">", ("CD/DVD",)),
        ("Chaussures", "", ()),
    ],
)
def test_path_has_the_parts_of_the_name(name: str, separator: str, path: tuple[str, ...]) -> None:
    assert path_of(name, separator) == path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("maison > literie > couettes", 1),
        ("Couettes", 1),
        ("draps ", 2),
        ("Accessoires", None),
        ("Jardin>Accessoires", 3),
        ("Literie", None),
        ("", None),
    ],
)
def test_category_is_found_by_its_name_or_by_a_last_part_that_only_it_has(
    text: str, code: int | None
) -> None:
    assert SHOP.find(text) == code


def test_category_without_a_path_is_stored_as_before() -> None:
    assert Category(code=10, name="Livres").model_dump() == {"code": 10, "name": "Livres"}
    assert json.loads(SHOP.categories[0].model_dump_json())["path"] == [
        "Maison",
        "Literie",
        "Couettes",
    ]
    assert Category.model_validate({"code": 10, "name": "Livres"}).path == ()


def test_path_of_a_code() -> None:
    assert SHOP.path(3) == ("Jardin", "Accessoires")
    assert SHOP.name(3) == "Jardin > Accessoires"
