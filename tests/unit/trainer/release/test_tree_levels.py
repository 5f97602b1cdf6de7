"""F1 at the levels of a tree of categories."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from shared.categories import CategorySet
from trainer.monitoring.performance.levels import measured_levels
from trainer.release.evaluation import Figures
from trainer.release.intervals import f1_interval
from trainer.release.tree_levels import Tree, level_intervals

NAMES = ["A > B > C", "A > B > D", "A > E > F", "G > H > I", "G"]
TREE = Tree.of(CategorySet.of(enumerate(NAMES, start=1), separator=">").categories)
TRUTH = np.array([1, 1, 2, 2, 3, 4, 4, 5])


def test_answer_is_right_at_a_level_if_its_ancestor_is() -> None:
    siblings = np.array([2, 2, 1, 1, 3, 4, 4, 5])
    first, second, leaves = level_intervals(TREE, TRUTH, siblings)
    assert (first.value, second.value) == (1, 1)
    assert leaves.value == pytest.approx(0.5)
    cousins = np.array([3, 3, 3, 3, 1, 4, 4, 5])
    first, second, leaves = level_intervals(TREE, TRUTH, cousins)
    assert first.value == 1
    assert leaves.value == second.value == pytest.approx(3 / 8)


def test_last_level_is_that_of_the_categories_with_their_interval() -> None:
    answers = np.random.default_rng(0).permutation(TRUTH)
    found = level_intervals(TREE, TRUTH, answers)[-1]
    assert found == f1_interval(TRUTH, answers[None])
    assert found.low < found.value < found.high


def test_category_above_a_level_is_a_node_of_its_own_there() -> None:
    first, second, _ = level_intervals(TREE, np.array([5, 4]), np.array([4, 4]))
    assert first.value == 1
    assert second.value == pytest.approx(1 / 3)


def test_code_outside_the_tree_is_right_at_no_level() -> None:
    assert [one.value for one in level_intervals(TREE, np.array([1]), np.array([99]))] == [0, 0, 0]
    # And -1 is the code of a product without an answer.
    assert [one.value for one in level_intervals(TREE, np.array([1]), np.array([-1]))] == [0, 0, 0]


def test_rows_of_labels_count_by_their_weights() -> None:
    answers, weights = np.array([1, 1, 1, 1, 3, 4, 4, 5]), np.array([5.0, 1, 2, 1, 1, 1, 1, 1])
    expected = f1_score(TRUTH, answers, average="weighted", sample_weight=weights)
    assert measured_levels(TREE, TRUTH, answers, weights)[-1].f1 == pytest.approx(expected)


@pytest.mark.parametrize("names", [["Livres", "Piscine"], ["A", "B"]])
def test_there_are_no_levels_without_a_tree(names: list[str]) -> None:
    for separator in ("", ">"):
        tree = Tree.of(CategorySet.of(enumerate(names), separator).categories)
        assert level_intervals(tree, np.array([0, 1]), np.array([0, 1])) == ()
        assert measured_levels(tree, np.array([0, 1]), np.array([0, 1])) == []


def test_levels_are_among_the_figures_of_a_release() -> None:
    levels = level_intervals(TREE, TRUTH, TRUTH)
    named = Figures(8, 1.0, float("nan"), 0.1, 0.2, levels).named("text")
    assert [named[f"text_level{level}_f1"] for level in (1, 2, 3)] == [1, 1, 1]
    assert named["text_level3_low"] == levels[2].low
    assert "text_levels" not in named
    assert not any("level" in name for name in Figures(8, 1.0, 1.0, 0.1, 0.2).named("text"))
