"""The stages of `make imagetuning` are read, and its intervals are those of paired answers."""

from argparse import ArgumentTypeError

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.bench.image_networks import stage
from tests.bench.quality.imagetuning import compared
from trainer.candidates.image.stages import Stage


def test_stage_is_read() -> None:
    assert stage("128:2:.5") == Stage(128, 2, 0.5)


@pytest.mark.parametrize("text", ["", "128", "128:2", "0:1:1", "96:0:1", "96:1:1.5", "96:1:nan"])
def test_text_that_is_no_stage_is_refused_with_it(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"pixels:epochs:share.*Received: {text}$"):
        stage(text)


def answers(rows: int) -> np.ndarray:
    """Return true categories, and answers of which 60 and 80 % are right."""
    generator = np.random.default_rng(0)
    targets = np.arange(rows) % 4
    others = [
        np.where(generator.random(rows) < right, targets, generator.integers(0, 4, rows))
        for right in (0.6, 0.8)
    ]
    return np.stack([targets, *others], axis=1)


@pytest.mark.parametrize("weights", [None, np.array([4.0, 2.0, 1.0, 0.5], np.float32)])
def test_figures_are_those_of_scikit_learn(weights: np.ndarray | None) -> None:
    columns = answers(400)
    rows = None if weights is None else weights[columns[:, 0]]
    expected = [
        f1_score(columns[:, 0], columns[:, place], average="weighted", sample_weight=rows)
        for place in (1, 2)
    ]
    first, second, difference = compared(columns, weights)
    np.testing.assert_allclose([first.value, second.value], expected, atol=1e-6)
    assert difference.value == pytest.approx(expected[1] - expected[0], abs=1e-6)
    assert difference.is_above_zero
    assert first.low < first.value < first.high


def test_difference_of_equal_answers_is_none() -> None:
    columns = answers(100)[:, [0, 1, 1]]
    difference = compared(columns, None)[2]
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
