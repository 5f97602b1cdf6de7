"""F1 measured from labels equals scikit-learn's, and its interval contains the truth."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from shared.errors import InvalidInput
from trainer.monitoring.performance.weighted_f1 import measured_f1


def answers(rows: int, seed: int, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.choice([10, 40, 50, 60], rows, p=[0.4, 0.3, 0.2, 0.1])
    guesses = generator.choice([10, 40, 50, 60], rows)
    return truth, np.where(generator.random(rows) < right, truth, guesses)


def test_f1_equals_the_weighted_f1_of_scikit_learn() -> None:
    truth, answered = answers(500, seed=0)
    found = measured_f1(truth, answered)
    assert found.f1 == pytest.approx(f1_score(truth, answered, average="weighted"))
    classes = f1_score(truth, answered, average=None)
    assert [found.by_class[code].f1 for code in (10, 40, 50, 60)] == pytest.approx(list(classes))
    assert sum(one.rows for one in found.by_class.values()) == found.rows == 500


def test_weights_equal_the_sample_weights_of_scikit_learn() -> None:
    truth, answered = answers(300, seed=1)
    weights = np.random.default_rng(2).uniform(1, 9, 300)
    expected = f1_score(truth, answered, average="weighted", sample_weight=weights)
    assert measured_f1(truth, answered, weights).f1 == pytest.approx(expected)


def test_interval_contains_the_f1_of_all_answers_nineteen_times_in_twenty() -> None:
    truth, answered = answers(100_000, seed=3)
    whole = f1_score(truth, answered, average="weighted")
    # Correct answers are labelled five times less often than wrong ones.
    is_correct = truth == answered
    chance = np.where(is_correct, 0.002, 0.01)
    inside = 0
    for seed in range(100):
        chosen = np.random.default_rng(seed).random(len(truth)) < chance
        found = measured_f1(truth[chosen], answered[chosen], 1 / chance[chosen], resamples=400)
        inside += found.low <= whole <= found.high
    assert inside >= 88


def test_unweighted_f1_of_a_biased_sample_is_too_low() -> None:
    truth, answered = answers(50_000, seed=4)
    chance = np.where(truth == answered, 0.01, 0.05)
    chosen = np.random.default_rng(5).random(len(truth)) < chance
    whole = f1_score(truth, answered, average="weighted")
    assert measured_f1(truth[chosen], answered[chosen]).high < whole
    assert measured_f1(truth[chosen], answered[chosen], 1 / chance[chosen]).low < whole


def test_few_correct_answers_have_a_wide_interval() -> None:
    found = measured_f1(np.array([10, 10, 40]), np.array([10, 10, 40]))
    assert (found.f1, found.high) == (1, 1)
    assert found.low < 0.5


def test_answer_without_a_category_is_wrong() -> None:
    found = measured_f1(np.array([10, 10, 40, 40]), np.array([10, -1, 40, 40]))
    assert found.f1 == pytest.approx((2 / 3 + 1) / 2)
    assert sorted(found.by_class) == [10, 40]


def test_equal_seeds_give_equal_intervals() -> None:
    truth, answered = answers(80, seed=6)
    assert measured_f1(truth, answered) == measured_f1(truth, answered)


@pytest.mark.parametrize("weights", [np.array([1.0]), np.array([1.0, 0.0])])
def test_each_row_needs_a_positive_weight(weights: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="a weight above 0"):
        measured_f1(np.array([10, 40]), np.array([10, 40]), weights)


def test_f1_of_no_rows_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="at least one row"):
        measured_f1(np.array([], np.int64), np.array([], np.int64))
