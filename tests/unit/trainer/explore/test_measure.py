from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.datasets import languages
from trainer.datasets.loading import load
from trainer.explore import duplicates, measure, words
from trainer.explore.figures import figure
from trainer.explore.material import UNSPLIT, Material, read_material


@pytest.fixture
def material(shop: Path) -> Material:
    return read_material(shop)


def test_categories_are_sorted_by_size(material: Material) -> None:
    table = measure.balance(material.rows)
    assert table["products"].to_dict() == {1: 3, 2: 2, 30: 2, 4: 1}
    assert list(table.index) == [1, 2, 30, 4]
    assert table["share"].sum() == pytest.approx(1.0)


def test_effective_number_of_equal_categories_is_their_number() -> None:
    assert measure.effective_categories(pd.DataFrame({"code": [7, 8, 9] * 5})) == pytest.approx(3)
    assert measure.effective_categories(pd.DataFrame({"code": []})) == 0.0


def test_missing_descriptions_are_counted_by_category(material: Material) -> None:
    table = measure.text_by_category(material.rows)
    assert table["without_description"].to_dict() == {1: 2, 2: 1, 30: 1, 4: 1}
    assert table.loc[1, "share_without_description"] == pytest.approx(2 / 3)
    assert table.loc[1, "median_title_words"] == 5
    assert table["median_description_words"].isna().to_dict()[4]


def test_lengths_ignore_empty_texts(material: Material) -> None:
    table = measure.lengths(material.rows)
    assert table.loc["Description, words", "products"] == 3
    assert table.loc["Title, words", "longest"] == 5


def test_histogram_counts_every_value_once() -> None:
    values = pd.Series([*range(100), 5_000])
    table = measure.histogram(values)
    assert table["products"].sum() == len(values)
    assert table["high"].iloc[-1] == 5_000
    assert len(table) <= measure.BINS + 1


def test_html_in_texts_is_counted(material: Material) -> None:
    table = measure.oddities(material.rows)
    assert table.loc["Title with HTML tags", "products"] == 1
    assert table.loc["Description with HTML tags", "products"] == 1
    assert table.loc["Title with broken characters such as Ã©", "products"] == 0


def test_languages_are_detected() -> None:
    texts = [
        "une grande piscine gonflable pour les enfants et toute la famille",
        "a book about trains and the people who built them long ago",
        "xk-42 9000",
        "",
    ]
    assert languages.detect(texts) == ["French", "English", languages.UNSURE, languages.NO_TEXT]


def test_language_shares_of_a_category_sum_to_one() -> None:
    found = pd.Series(["French", "German", "Dutch", "unsure", "French", "no text"])
    table = languages.by_category(found, pd.Series([1, 1, 1, 2, 2, 2]), most=1)
    assert list(table.columns) == ["French", "others", "unsure", "no text"]
    assert table.sum(axis="columns").tolist() == pytest.approx([1.0, 1.0])
    assert table.loc[1, "others"] == pytest.approx(2 / 3)


def test_words_of_a_single_category_are_distinctive() -> None:
    texts = ["de la piscine bleue"] * 200 + ["de la lampe bleue"] * 200
    counts = words.count_words(texts, [1] * 200 + [2] * 200)
    found = words.distinctive(counts)
    assert found.groupby("code")["word"].agg(list).to_dict() == {1: ["piscine"], 2: ["lampe"]}
    assert found["products"].tolist() == [200, 200]
    assert set(words.common_words(counts)) >= {"de", "la", "bleue"}


def test_log_odds_of_two_equal_categories_are_opposite() -> None:
    scores = words.log_odds(np.array([[9, 1, 5], [1, 9, 5]]))
    assert scores[0] == pytest.approx(-scores[1])
    assert scores[0, 0] > 0 > scores[0, 1]
    assert scores[0, 2] == pytest.approx(0.0)


def test_texts_without_words_have_empty_tables() -> None:
    counts = words.count_words(["12", "3"], [1, 2])
    assert words.distinctive(counts).empty
    assert words.frequent(counts).empty
    assert words.common_words(counts) == []


def test_contradictions_are_found_after_preparation(material: Material) -> None:
    table = duplicates.summary(material.rows)
    assert table.loc[duplicates.EQUALITIES["written"], "groups"] == 0
    assert table.loc[duplicates.EQUALITIES["prepared"]].to_dict() == {
        "groups": 1,
        "products": 2,
        "redundant": 1,
        "contradicting": 2,
        "leaking": 0,
    }
    contradicting = duplicates.contradictions(material.rows)
    assert contradicting.loc[0, "codes"] == [4, 30]
    assert contradicting.loc[0, "rows"] == [6, 7]
    pairs = duplicates.confused_pairs(material.rows)
    assert pairs.to_dict("records") == [{"category": 4, "other_category": 30, "groups": 1}]


def test_products_without_text_are_not_duplicates() -> None:
    rows = pd.DataFrame(
        {"designation": "", "description": "", "text": "", "code": [1, 2], "image": ""}
    ).assign(has_text=False, part="train")
    assert (duplicates.summary(rows) == 0).all(axis=None)


def test_test_product_with_an_equal_training_product_leaks(material: Material) -> None:
    parts = ["train"] * 6 + ["test", "train"]
    table = duplicates.summary(material.rows.assign(part=parts))
    assert table["leaking"].tolist() == [0, 1, 0]


def test_untrainable_data_is_read_with_the_error(shop: Path) -> None:
    text = (shop / "products.csv").read_text().replace(",4\n", ",four\n")
    (shop / "products.csv").write_text(text)
    material = read_material(shop)
    assert set(material.rows["part"]) == {UNSPLIT}
    assert [finding.code for finding in material.report().errors] == ["labels_not_integers"]
    assert len(material.rows) == 7


def test_stored_version_is_read_by_its_reference(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(shop)
    monkeypatch.setattr("trainer.explore.material.load", lambda reference, seed: data)
    material = read_material(Path("shop@3"))
    assert material.name == "shop@3"
    assert len(material.rows) == 8
    assert material.label(1) == "1 · Piscines"
    assert "duplicate_products" not in {finding.code for finding in material.report().findings}


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (0.1234, "share", "12.3\u202f%"),
        (84_916, "products", "84\u202f916"),
        (np.int64(3), "products", "3"),
        (7.25, "median", "7.2"),
        (float("nan"), "share", "–"),
        ("word", "share", "word"),
    ],
)
def test_figures_are_formatted(value: object, name: str, expected: str) -> None:
    assert figure(value, name) == expected
