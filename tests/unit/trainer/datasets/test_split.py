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


def answered(count: int, *, files: int = 0) -> pd.DataFrame:
    """Return rows of files, then labelled answers, oldest first."""
    table = frame([(f"produit {i}", 10 + i % 2) for i in range(files + count)])
    is_labelled = table.index >= files
    return table.assign(
        labelled_by=["1" if one else "" for one in is_labelled],
        answered_at=[float(i) if one else 0.0 for i, one in enumerate(is_labelled)],
    )


@pytest.mark.parametrize(("labels", "newest"), [(200, 50), (400, 100), (4_000, 100)])
def test_newest_labelled_answers_test_and_a_tenth_of_the_others(labels: int, newest: int) -> None:
    table = answered(labels, files=1_000)
    before = hashed_parts(table[:1_000])
    is_test = hashed_parts(table, kept=before) == "test"
    assert is_test[-newest:].all()
    others = is_test[1_000:-newest]
    assert 0.05 < others.mean() < 0.15
    assert is_test[:1_000].equals(before == "test")


def test_labelled_answers_are_learnt_from_once_newer_ones_test() -> None:
    table, parts = answered(2_000), pd.Series([], dtype=object)
    for labels in range(200, 2_001, 200):
        before, parts = parts, hashed_parts(table[:labels], kept=parts)
        newest = min(100, labels // 4)
        # A release that was trained on a row would seem better on it than it is.
        assert not ((before != "test") & (parts[before.index] == "test")).any()
        assert (parts[-newest:] == "test").all()
    assert 0.05 < (parts[:-100] == "test").mean() < 0.15
    assert (parts[:-100] == "validation").mean() > 0.05


def test_newest_answers_go_on_testing_while_few_are_new() -> None:
    table = answered(1_020)
    before = hashed_parts(table[:1_000])
    after = hashed_parts(table, kept=before)
    assert (after[1_000:] == "test").all()
    assert (after[920:1_000] == "test").all()


def test_author_who_labels_last_does_not_choose_all_rows_that_test() -> None:
    table = answered(800)
    table["labelled_by"] = ["1"] * 600 + ["2"] * 200
    is_test = hashed_parts(table) == "test"
    # A quarter of the 100 newest, and a tenth of the others
    assert 25 <= is_test[600:].sum() < 60
    assert is_test[600 - 75 : 600].all()


def test_newest_answers_with_the_title_of_a_trained_row_do_not_test() -> None:
    table = answered(200)
    table.loc[199, "designation"] = "produit 0"
    before = hashed_parts(table[:100])
    assert before[0] == "train"
    assert hashed_parts(table, kept=before)[199] == "train"


def test_row_of_the_files_with_the_title_of_a_labelled_answer_goes_on_testing() -> None:
    table = answered(400, files=100)
    before = hashed_parts(table[:100])
    tested = [*before].index("test")
    table.loc[100, "designation"] = f"produit {tested}"
    assert hashed_parts(table, kept=before)[[tested, 100]].tolist() == ["test", "test"]


def test_answer_keeps_the_part_of_a_row_with_its_title() -> None:
    table = frame([(f"produit {i % 1000}", 10 + i % 2) for i in range(2000)])
    before = hashed_parts(table[:1000])
    authors = ["" if i < 1000 else "1" for i in range(2000)]
    parts = hashed_parts(table.assign(labelled_by=authors, answered_at=0.0), kept=before)
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
