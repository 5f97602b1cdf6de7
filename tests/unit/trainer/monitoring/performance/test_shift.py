"""Estimates corrected for a shift, and products for which there is no estimate."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from shared.contracts import Modality
from tests.unit.trainer.monitoring.products import make_products
from trainer.monitoring.performance.cbpe import estimated_f1
from trainer.monitoring.performance.known import known_answers
from trainer.monitoring.performance.shift import Known, Reason, corrected, shift_of
from trainer.reference.sample import Sample

CLASSES = 5


def answers(rows: int, seed: int, *, hard: float = 0.5, boost: float = 2.0) -> Known:
    """Return answers, overconfident for hard products, and their truth.

    Args:
        rows: Number of products.
        seed: Seed of the generator.
        hard: Share of the hard products.
        boost: Factor of the log-probabilities of hard products.
    """
    random = np.random.default_rng(seed)
    is_hard = random.random(rows) < hard
    spread = np.where(is_hard, 0.7, 0.15)[:, None] * np.ones(CLASSES)
    honest = np.stack([random.dirichlet(row) for row in spread]) * 0.99 + 0.01 / CLASSES
    truth = np.array([random.choice(CLASSES, p=row) for row in honest])
    told = np.where(is_hard[:, None], honest**boost, honest)
    return Known(told / told.sum(axis=1, keepdims=True), truth)


def true_f1(known: Known) -> float:
    answered = known.probabilities.argmax(axis=1)
    return float(f1_score(known.truth, answered, average="weighted"))


def test_correction_takes_the_error_of_like_products_away() -> None:
    window = answers(1_000, 1)
    plain = estimated_f1(window.probabilities)
    shift = shift_of(answers(1_500, 0), window.probabilities)
    assert shift is not None
    assert shift.reason is None
    found = corrected(plain, shift)
    assert abs(found.f1 - true_f1(window)) < abs(plain.f1 - true_f1(window)) / 2
    assert true_f1(window) < plain.low
    assert found.low <= true_f1(window) <= found.high
    assert found.high - found.low > plain.high - plain.low


def test_products_unlike_the_held_out_ones_have_no_estimate() -> None:
    window = answers(2_000, 1).probabilities
    shift = shift_of(answers(1_500, 0), window[window.argmax(axis=1) == 0])
    assert shift is not None
    assert shift.reason is Reason.UNLIKE
    assert shift.effective_rows < 1_500


def test_many_foreign_products_have_no_estimate() -> None:
    window = answers(1_000, 1).probabilities
    window[:150] = np.random.default_rng(2).dirichlet(np.full(CLASSES, 30.0), 150)
    shift = shift_of(answers(1_500, 0), window)
    assert shift is not None
    assert (shift.reason, shift.foreign > 0.15) == (Reason.FOREIGN, True)


@pytest.mark.parametrize(("held", "rows"), [(99, 500), (500, 99)])
def test_few_products_are_not_compared(held: int, rows: int) -> None:
    assert shift_of(answers(held, 0), answers(rows, 1).probabilities) is None


def test_constant_answers_are_unlike_any_others() -> None:
    window = np.tile([0.96, 0.01, 0.01, 0.01, 0.01], (300, 1))
    shift = shift_of(answers(1_500, 0), window)
    assert shift is not None
    assert shift.reason is Reason.UNLIKE


def test_known_answers_are_those_whose_true_category_is_known() -> None:
    products = make_products(200)
    truth = np.where(np.arange(200) < 40, -1, products.answers)
    reference = products.sample()
    assert known_answers(reference, 2, None, "fusion") == {}
    reference = Sample(reference.answers, reference.views, truth=truth)
    known = known_answers(reference, 2, None, "fusion")
    assert {name: len(one.truth) for name, one in known.items()} == {
        "fusion": 160,
        "text": 160,
        "image": 80,
    }
    expected = products.scores[Modality.IMAGE][40::2]
    assert known["image"].probabilities == pytest.approx(expected, abs=1e-3)
    assert known["image"].truth.tolist() == truth[40::2].tolist()
