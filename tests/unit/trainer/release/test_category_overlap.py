"""Releases with other categories than the champion's are compared on those that both know."""

import numpy as np
import pytest

from shared.categories import Category
from trainer.release.category_overlap import Overlap, judge
from trainer.release.paired_bootstrap import Rule

RULE = Rule(margin=0.002, confidence=0.95)
LIVRES, POOL = Category(code=10, name="Livres"), Category(code=20, name="Piscines")
QUILTS, SHOES = Category(code=30, name="Couettes"), Category(code=40, name="Chaussures")


def judged(
    champion: tuple[Category, ...],
    challenger: tuple[Category, ...],
    rows: list[tuple[int, int, int]],
) -> dict[str, object]:
    """Compare by rows of true category, answer of the champion, answer of the challenger."""
    codes, before, after = np.array(rows).T
    return judge(codes, before, after, Overlap.of(champion, challenger), RULE)


def test_champion_without_any_of_the_categories_cannot_be_compared() -> None:
    found = judged((LIVRES, POOL), (QUILTS, SHOES), [(30, 10, 30), (40, 20, 40)] * 50)
    assert found["outcome"] == "not comparable"
    assert (found["champion_f1"], found["challenger_f1"]) == (None, 1.0)
    sentence = str(found["sentence"])
    assert sentence.startswith(
        "Not comparable: the champion knows none of the 2 categories of these 100 rows; weighted "
        "F1 1.0000 of the new release on them"
    )
    assert "does not know 2 categories of the champion: livres, piscines" in sentence.casefold()
    assert "0.0000" not in sentence


def test_new_categories_are_reported_apart_from_the_comparison() -> None:
    # Given a challenger that answers like the champion, and knows another category
    rows = [(10, 10, 10), (20, 20, 20), (10, 20, 20)] * 40 + [(30, 10, 30)] * 30
    found = judged((LIVRES, POOL), (LIVRES, POOL, QUILTS), rows)
    # Then both have the same F1 on the rows that both know, and the gain is the new category
    assert found["champion_f1"] == found["challenger_f1"]
    assert (found["rows"], found["new_rows"], found["new_f1"]) == (120, 30, 1.0)
    assert found["outcome"] == "better"
    sentence = str(found["sentence"])
    assert sentence.startswith("Better. On the categories that both know: undecided: weighted F1 ")
    assert (
        "on 30 rows of 1 category that the champion does not know, weighted F1 1.0000" in sentence
    )


def test_loss_on_the_common_categories_is_not_outweighed_by_new_ones() -> None:
    rows = [(10, 10, 20), (20, 20, 20)] * 40 + [(30, 10, 30)] * 400
    found = judged((LIVRES, POOL), (LIVRES, POOL, QUILTS), rows)
    assert found["outcome"] == "undecided"
    assert "not better" in str(found["sentence"])


def test_lost_categories_are_named() -> None:
    rows = [(10, 20, 10)] * 100
    found = judged((LIVRES, POOL), (LIVRES, QUILTS), rows)
    assert (found["outcome"], found["lost_categories"]) == ("better", 1)
    assert "does not know 1 category of the champion: Piscines" in str(found["sentence"])


def test_equal_code_of_another_category_is_not_known() -> None:
    # Given a shop whose code 10 is another category than the champion's
    shoes = Category(code=10, name="Chaussures")
    assert Overlap.of((LIVRES,), (shoes,)).common == frozenset()
    # Then an answer of that code is not right by chance
    found = judged((LIVRES, POOL), (shoes, POOL), [(10, 10, 10), (20, 20, 20)] * 50)
    assert (found["rows"], found["new_rows"]) == (50, 50)


@pytest.mark.parametrize("name", ["Piscine et livres", "LIVRES", "10"])
def test_category_with_a_like_name_or_none_is_the_same(name: str) -> None:
    assert Overlap.of((LIVRES,), (Category(code=10, name=name),)).common == {10}


def test_same_categories_are_compared_as_before() -> None:
    found = judged((LIVRES, POOL), (LIVRES, POOL), [(10, 20, 10), (20, 20, 20)] * 50)
    assert found["outcome"] == "better"
    assert str(found["sentence"]).startswith("Better: weighted F1 1.0000 against ")
    assert found["new_rows"] == 0
