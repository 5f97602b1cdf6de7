import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.split import hashed_parts, split_key

titles = st.text("abcé -12", max_size=8)
products = st.lists(st.tuples(titles, st.sampled_from([10, 20, 30])), min_size=1, max_size=60)


def frame(rows: list[tuple[str, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["designation", "code"])
    return table.assign(description="", image_name=[f"{i}.jpg" for i in range(len(rows))])


@given(products)
def test_products_with_equal_titles_share_a_part(rows: list[tuple[str, int]]) -> None:
    table = frame(rows)
    keys = [
        split_key(title) or name
        for title, name in zip(table["designation"], table["image_name"], strict=True)
    ]
    assert hashed_parts(table).groupby(keys).nunique().max() == 1


@given(products)
def test_every_category_has_training_rows(rows: list[tuple[str, int]]) -> None:
    table = frame(rows)
    trained = table["code"][hashed_parts(table) == "train"]
    assert set(trained) == set(table["code"])


def test_rows_keep_their_part_when_others_are_added() -> None:
    table = frame([(f"produit {i}", 10 + i % 2) for i in range(2000)])
    before, after = hashed_parts(table[:1000]), hashed_parts(table)
    assert before.equals(after[:1000])
    assert 150 < (after == "test").sum() < 250


@pytest.mark.parametrize(
    ("labels", "least", "most"), [(400, 80, 120), (1_000, 130, 170), (4_000, 360, 440)]
)
def test_a_quarter_of_few_labelled_answers_tests_and_a_tenth_of_many(
    labels: int, least: int, most: int
) -> None:
    table = frame([(f"produit {i}", 10 + i % 2) for i in range(1_000 + labels)])
    before = hashed_parts(table[:1_000])
    authors = ["" if i < 1_000 else "1" for i in range(len(table))]
    parts = hashed_parts(table.assign(labelled_by=authors), kept=before)
    assert parts[:1_000].equals(before)
    # With a tenth, a gate that needs 50 rows would wait for 500 labels.
    assert least < (parts[1_000:] == "test").sum() < most


def test_a_tenth_of_further_labelled_answers_tests_once_enough_do() -> None:
    table = frame([(f"produit {i}", 10 + i % 2) for i in range(3_000)]).assign(labelled_by="1")
    parts = pd.Series([], dtype=object)
    for labels in range(200, 3_001, 200):
        parts = hashed_parts(table[:labels], kept=parts)
    assert 40 < (parts[:200] == "test").sum() < 65
    assert 120 < (parts[:600] == "test").sum() < 180
    assert 160 < (parts[1_000:] == "test").sum() < 240


def test_answer_keeps_the_part_of_a_row_with_its_title() -> None:
    table = frame([(f"produit {i % 1000}", 10 + i % 2) for i in range(2000)])
    before = hashed_parts(table[:1000])
    authors = ["" if i < 1000 else "1" for i in range(2000)]
    parts = hashed_parts(table.assign(labelled_by=authors), kept=before)
    assert parts[1000:].tolist() == before.tolist()


def test_three_titles_of_a_category_fill_all_parts() -> None:
    parts = hashed_parts(frame([(title, code) for title in "abc" for code in (10,)]))
    assert sorted(parts) == ["test", "train", "validation"]


def test_title_is_held_out_only_if_each_of_its_categories_has_another() -> None:
    rows = frame([("a", 10), ("b", 10), ("a", 20)])
    assert hashed_parts(rows).tolist() == ["train", "test", "train"]


@pytest.mark.parametrize("second_titles", [0, 2])
def test_splitting_as_many_categories_as_rows_is_fast(second_titles: int) -> None:
    rows = [(f"produit {number}", number) for number in range(50_000)]
    rows += [(f"encore {number}", number) for number in range(second_titles)]
    started = time.monotonic()
    parts = hashed_parts(frame(rows))
    # Comparing each title with all rows takes minutes.
    assert time.monotonic() - started < 20
    assert (parts != "train").sum() <= second_titles


def test_split_key_ignores_case_accents_and_punctuation() -> None:
    assert split_key("Été, à la PLAGE!") == split_key("ete a la plage")
    assert split_key("lot de 2") != split_key("lot de 3")
