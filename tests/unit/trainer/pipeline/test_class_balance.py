"""Class-balanced weights of the rows to fit on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.categories import CategorySet
from shared.errors import InvalidInput
from trainer.candidates.protocols import Labels
from trainer.datasets.class_balance import balanced_weights
from trainer.datasets.folder import Dataset
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.steps import Steps

Balance = Callable[[float], Labels]
#: Rows of each category, and those of the first that have a weak label.
COUNTS, WEAK = (400, 20, 5), 100


class Silent:
    """A log of nothing."""

    def log_line(self, line: str) -> None: ...

    def curve(self, name: str, step: int, value: float) -> None: ...


def context(tmp_path: Path, **settings: float) -> TrainingContext:
    rows = pd.DataFrame({"code": np.repeat([10, 11, 12], COUNTS), "part": "train"})
    rows.loc[: WEAK - 1, "part"] = "weak"
    categories = CategorySet.of((code, f"C{code}") for code in (10, 11, 12))
    return TrainingContext(
        TrainingSettings(work=tmp_path, **settings),  # type: ignore[arg-type]
        Dataset(rows, categories, {}, stored_fingerprint="rows"),
        Steps(tmp_path, total=1),
        Silent(),
    )


@pytest.fixture
def labels(tmp_path: Path) -> Balance:
    """Return the labels of the rows by the strength of their balance."""

    def of(strength: float) -> Labels:
        found = context(tmp_path, class_balance=strength, weak_weight=0.5)
        return found.labels(found.data.rows)

    return of


def by_category(found: Labels) -> list[float]:
    """Return the weight of the last row of each category, which is official."""
    return [float(found.weights[found.targets == place][-1]) for place in range(len(COUNTS))]


@pytest.mark.parametrize("strength", [0.5, 0.9, 0.999])
def test_weights_follow_the_effective_number_of_rows(labels: Balance, strength: float) -> None:
    # Given 300 official and 100 weakly labelled rows, which count half
    counts = np.array([350, 20, 5])
    expected = (1 - strength) / (1 - strength**counts)
    # When
    found = np.array(by_category(labels(strength)))
    # Then
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)


def test_strength_near_one_gives_all_categories_the_same_sum(labels: Balance) -> None:
    found = labels(1 - 1e-12)
    sums = np.bincount(found.targets, found.weights)
    np.testing.assert_allclose(sums, sums.mean(), rtol=1e-3)


def test_mean_weight_stays_and_weak_rows_still_count_less_in_their_category(
    labels: Balance,
) -> None:
    before, found = labels(0.0), labels(0.99)
    assert found.weights.sum() == pytest.approx(before.weights.sum(), rel=1e-5)
    assert found.weights[0] / found.weights[WEAK] == pytest.approx(0.5)
    assert found.weights.dtype == np.float32


def test_official_rows_are_known_whatever_they_weigh(labels: Balance) -> None:
    before, found = labels(0.0), labels(0.99)
    # Given weights of official rows below 1, which told the weak ones before
    assert found.weights[WEAK] < 1
    # Then
    np.testing.assert_array_equal(found.is_official, before.is_official)
    places = np.array([0, WEAK, len(before.targets) - 1])
    np.testing.assert_array_equal(found.take(places).is_official, [False, True, True])
    np.testing.assert_array_equal(found.take(places).weights, found.weights[places])


def test_category_without_rows_is_no_division_by_zero() -> None:
    found = balanced_weights(np.zeros(9, np.int64), np.ones(9, np.float32), 2, 0.99)
    np.testing.assert_allclose(found, 1)


@pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
def test_strength_outside_its_range_is_refused(labels: Balance, strength: float) -> None:
    with pytest.raises(InvalidInput, match="Expected a class balance from 0 to below 1"):
        labels(strength)


def test_training_is_not_balanced_by_default(tmp_path: Path) -> None:
    found = context(tmp_path)
    weights = found.labels(found.data.rows).weights
    np.testing.assert_array_equal(np.unique(weights), np.array([0.7, 1.0], np.float32))
    # Steps of earlier trainings are found by their key.
    assert [*found.key] == ["data", "seed", "weak_weight", "storage"]


def test_setting_of_a_training_balances_its_rows_and_decides_its_steps(tmp_path: Path) -> None:
    found = context(tmp_path, class_balance=0.99)
    rare, frequent = (by_category(found.labels(found.data.rows))[place] for place in (2, 0))
    assert rare > 10 * frequent
    assert found.key["class_balance"] == 0.99
