"""F1 estimated without labels, compared with labels drawn from the same probabilities."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from shared.errors import InvalidInput
from trainer.monitoring.performance.cbpe import ClassF1, Estimate, Expectation, estimated_f1

Floats = NDArray[np.float64]
CLASSES = 6


def chances(rows: int, seed: int, sharpness: float = 0.3) -> Floats:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(sharpness * np.linspace(0.5, 1.5, CLASSES), size=rows)


def labels(probabilities: Floats, seed: int) -> NDArray[np.int64]:
    """Draw the true column of each row from its probabilities."""
    steps = probabilities.cumsum(axis=1)
    drawn = np.random.default_rng(seed).random((len(steps), 1)) * steps[:, -1:]
    found: NDArray[np.int64] = (drawn > steps).sum(axis=1)
    return found


def true_f1(probabilities: Floats, truth: NDArray[np.int64]) -> float:
    return float(f1_score(truth, probabilities.argmax(axis=1), average="weighted"))


@pytest.mark.parametrize("rows", [100, 1_000])
def test_interval_contains_the_truth_nineteen_times_in_twenty(rows: int) -> None:
    probabilities = chances(rows, seed=1)
    estimate = estimated_f1(probabilities)
    truths = np.array([true_f1(probabilities, labels(probabilities, seed)) for seed in range(400)])
    inside = ((estimate.low <= truths) & (truths <= estimate.high)).mean()
    # The share of 400 draws at .95 lies between .928 and .972.
    assert 0.925 <= inside <= 0.98
    assert estimate.f1 == pytest.approx(truths.mean(), abs=0.3 / rows + 0.003)


def test_interval_of_each_category_contains_its_truth() -> None:
    probabilities = chances(2_000, seed=2)
    estimate = estimated_f1(probabilities)
    answers = probabilities.argmax(axis=1)
    inside = []
    for seed in range(200):
        truth = labels(probabilities, seed)
        f1s = f1_score(truth, answers, average=None, labels=range(CLASSES))
        inside.append(
            [
                category.low <= f1 <= category.high
                for category, f1 in zip(by_class(estimate), f1s, strict=True)
            ]
        )
    assert np.all(np.mean(inside, axis=0) > 0.9)
    assert np.all(np.mean(inside, axis=0) < 1)


def by_class(estimate: Estimate) -> list[ClassF1]:
    return [estimate.by_class[column] for column in range(CLASSES)]


def test_certain_probabilities_give_the_f1_of_scikit_learn_without_an_interval() -> None:
    generator = np.random.default_rng(3)
    truth, answers = generator.integers(0, CLASSES, (2, 300))
    estimate = estimated_f1(np.eye(CLASSES)[truth], answered=answers)
    expected = f1_score(truth, answers, average="weighted")
    assert estimate.f1 == pytest.approx(expected)
    assert (estimate.low, estimate.high) == pytest.approx((expected, expected))
    classes = f1_score(truth, answers, average=None)
    assert [estimate.by_class[column].f1 for column in range(CLASSES)] == pytest.approx(
        list(classes)
    )


def test_certain_answers_are_all_correct() -> None:
    estimate = estimated_f1(np.eye(CLASSES)[[0, 1, 1, 5]])
    assert (estimate.f1, estimate.low, estimate.high) == (1, 1, 1)
    assert sorted(estimate.by_class) == [0, 1, 5]
    assert estimate.by_class[1].rows == 2


def test_category_with_less_than_one_expected_row_has_no_f1() -> None:
    estimate = estimated_f1(np.array([[0.98, 0.01, 0.01]] * 30 + [[0.1, 0.8, 0.1]]))
    assert sorted(estimate.by_class) == [0, 1]
    assert 2 in estimated_f1(np.array([[0.9, 0.05, 0.05]] * 30)).by_class


def test_single_category_is_always_correct() -> None:
    estimate = estimated_f1(np.ones((7, 1)), codes=[2583])
    assert (estimate.f1, estimate.low, estimate.high, estimate.rows) == (1, 1, 1, 7)
    assert estimate.by_class[2583].f1 == 1


def test_single_row_has_a_wide_interval() -> None:
    estimate = estimated_f1(np.array([[0.6, 0.4]]))
    assert 0 <= estimate.low < estimate.f1 < estimate.high <= 1
    assert estimate.high - estimate.low > 0.5


def test_interval_narrows_with_more_rows() -> None:
    few, many = (estimated_f1(chances(rows, seed=4)) for rows in (100, 10_000))
    assert (many.high - many.low) * 5 < few.high - few.low


def test_less_confident_answers_have_a_lower_estimate() -> None:
    sure, unsure = (estimated_f1(chances(500, 5, sharpness)) for sharpness in (0.1, 1.0))
    assert sure.f1 > unsure.f1 + 0.2


def test_merged_days_equal_the_month() -> None:
    probabilities = chances(500, seed=6)
    days = Expectation.of(CLASSES), Expectation.of(CLASSES)
    days[0].add(probabilities[:123])
    days[1].add(probabilities[123:])
    days[0].merge(days[1])
    whole = estimated_f1(probabilities)
    month = days[0].estimate()
    assert (month.f1, month.low, month.high) == pytest.approx((whole.f1, whole.low, whole.high))
    assert month.rows == whole.rows == 500


def test_half_precision_probabilities_are_accepted() -> None:
    probabilities = chances(50, seed=7).astype(np.float16)
    assert estimated_f1(probabilities).f1 == pytest.approx(
        estimated_f1(chances(50, seed=7)).f1, abs=0.01
    )


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, CLASSES)),
        np.zeros((3, CLASSES)),
        np.full((3, CLASSES), np.nan),
        np.array([[1.5, -0.5]]),
        np.array([0.5, 0.5]),
        np.zeros((3, 0)),
    ],
)
def test_invalid_probabilities_are_rejected(wrong: Floats) -> None:
    with pytest.raises(InvalidInput, match="Expected"):
        estimated_f1(wrong)
