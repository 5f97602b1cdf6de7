"""The made-up shop with a large tree, and what the bench measures on it."""

import numpy as np
import pytest

from shared.inference.releases.confidence import IDENTITY
from tests.bench.quality.taxonomy.__main__ import is_as_wanted, lines
from tests.bench.quality.taxonomy.figures import NO_ANSWER, category_f1, tree_f1
from tests.bench.quality.taxonomy.offline import Answered
from tests.bench.quality.taxonomy.shop import FEWEST_ROWS, Leaf, Shop, Tree, truth_of
from tests.bench.quality.taxonomy.story import (
    FEWEST_TESTED,
    PRECISION,
    Accepted,
    Rows,
    Story,
    accepted,
)

SMALL = Tree(roots=3, families=2, leaves=2)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Rows.of(Shop(0, SMALL), 0)


def leaf(code: int, path: str, rows: int) -> Leaf:
    root, family, name = path.split()
    return Leaf(code, (root, family, name), rows, ((), ()))


#: Two leaves of one family, one of another family, and one of another root.
LEAVES = [leaf(1, "A B C", 80), leaf(2, "A B D", 10), leaf(3, "A E F", 5), leaf(4, "G H I", 5)]
TRUTH = np.array([1, 1, 2, 2, 3, 3, 4, 4])


def test_shop_has_500_categories_of_three_levels_and_5_rows_in_many() -> None:
    leaves = Shop().leaves
    assert len({one.name for one in leaves}) == 500
    assert [len({one.path[:depth] for one in leaves}) for depth in (1, 2, 3)] == [10, 100, 500]
    counts = np.array([one.rows for one in leaves])
    assert (counts == FEWEST_ROWS).sum() > 200
    assert counts.max() > 50 * FEWEST_ROWS


def test_equal_seeds_make_equal_products_and_others_do_not() -> None:
    first, same, other = (Rows.of(Shop(seed, SMALL), seed).first for seed in (1, 1, 2))
    assert first.equals(same)
    assert not first.equals(other)


def test_later_category_is_in_no_first_row_and_no_product_is_measured_that_was_learnt(
    rows: Rows,
) -> None:
    assert rows.later.code not in truth_of(rows.first)
    assert rows.later.code in truth_of(rows.labelled)
    assert np.unique(truth_of(rows.tested), return_counts=True)[1].min() >= FEWEST_TESTED
    learnt = {*rows.first["designation"], *rows.labelled["designation"]}
    assert not learnt & {*rows.tested["designation"], *rows.later_tested["designation"]}


def test_right_answers_have_an_f1_of_one_at_each_level() -> None:
    found = tree_f1(TRUTH, TRUTH, LEAVES)
    assert (found.weighted, found.macro, found.rare, found.levels) == (1, 1, 1, (1, 1, 1))


def test_answer_in_the_right_family_is_wrong_at_the_leaves_only() -> None:
    found = tree_f1(TRUTH, np.array([1, 1, 1, 1, 3, 3, 4, 4]), LEAVES)
    assert found.levels[:2] == (1, 1)
    assert found.levels[2] == found.weighted < 1


def test_rare_categories_count_by_their_share_in_weighted_and_equally_in_macro() -> None:
    # Given wrong answers about both smallest categories, 10 % of the shop's products
    found = tree_f1(TRUTH, np.array([1, 1, 2, 2, *[NO_ANSWER] * 4]), LEAVES)
    assert found.weighted == pytest.approx(0.9)
    assert found.macro == pytest.approx(0.5)
    assert found.rare == pytest.approx(1 / 3)
    assert category_f1(TRUTH, TRUTH, 2) == 1


def test_threshold_accepts_sure_answers_that_are_not_foreign() -> None:
    known = {"is_foreign": "false"}
    answers = [
        {"prdtypecode": "1", "confidence": "0.9", **known},
        {"prdtypecode": "2", "confidence": "0.8", **known},
        {"prdtypecode": "2", "confidence": "0.95", "is_foreign": "true"},
        {"prdtypecode": "1", "confidence": "0.3", **known},
    ]
    truth, weights = np.array([1, 1, 2, 1]), np.array([3.0, 1.0, 2.0, 2.0])
    assert accepted(answers, truth, weights, 0.8) == Accepted(0.5, 0.75)
    assert accepted(answers, truth, weights, {1: 0.2, 2: None}) == Accepted(0.625, 1.0)
    assert accepted(answers, truth, weights, None) == Accepted(0.0, 0.0)


@pytest.mark.parametrize(
    ("again", "later", "is_wanted"),
    [(TRUTH, 0.8, True), (TRUTH, 0.2, False), (TRUTH[::-1], 1, False)],
)
def test_story_goes_well_if_nothing_is_forgotten_and_the_new_category_is_learnt(
    again: np.ndarray, later: float, is_wanted: bool
) -> None:
    story = Story(first=tree_f1(TRUTH, TRUTH, LEAVES), again=tree_f1(TRUTH, again, LEAVES))
    story.later = (0.0, later)
    assert is_as_wanted(story) is is_wanted
    assert not is_as_wanted(Story())
    assert any(line.startswith("second release") for line in lines(story))


def test_report_without_an_estimate_is_shown() -> None:
    labels = {"rows": 100, "f1": 0.5}
    report = {"sentence": "All well.", "categories": 3, "by labels": labels, "estimated": None}
    shown = lines(Story(report=report))[-1]
    assert shown == "report: All well. 3 categories were answered, F1 by 100 labels 0.500"


@pytest.fixture(scope="module")
def answered() -> Answered:
    return Answered.of(Shop(0, Tree(roots=5, families=5, leaves=6)), 0)


def test_one_temperature_makes_confident_answers_of_many_categories_overconfident(
    answered: Answered,
) -> None:
    assert answered.accepted(PRECISION, IDENTITY).precision < PRECISION - 0.03


def test_precision_dial_reaches_its_target_on_many_categories_by_held_out_products(
    answered: Answered,
) -> None:
    found = answered.accepted(PRECISION, answered.stated)
    # The sampling error of a share of some 300 accepted rows.
    assert found.precision >= PRECISION - 0.02
    assert found.share > 0.3
