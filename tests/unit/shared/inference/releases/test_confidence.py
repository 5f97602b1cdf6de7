"""Confidences that labels correct: the prior, the posterior and its uncertainty."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.inference.releases.confidence import (
    IDENTITY,
    Calibration,
    HeldOutConfidence,
    LabelledRows,
    calibrated,
    logit,
    sigmoid,
)


@st.composite
def some_labels(draw: st.DrawFn) -> list[LabelledRows]:
    found = []
    for _ in range(draw(st.integers(0, 20))):
        rows = draw(st.integers(1, 200))
        confidence = draw(st.integers(0, 10_000)) / 10_000
        found.append(LabelledRows(confidence, rows, draw(st.integers(0, rows))))
    return found


def test_confidences_are_probabilities_without_labels() -> None:
    found = calibrated([])
    assert (found.intercept, found.slope) == pytest.approx((0, 1))
    assert IDENTITY.probability(0.9876) == 0.9876


@given(some_labels())
def test_probability_rises_with_the_confidence(labels: list[LabelledRows]) -> None:
    found = calibrated(labels)
    probabilities = [found.probability(one / 100) for one in range(101)]
    assert probabilities == sorted(probabilities)
    assert all(0 <= one <= 1 for one in probabilities)


@given(some_labels())
def test_covariance_is_that_of_a_distribution_no_wider_than_the_prior(
    labels: list[LabelledRows],
) -> None:
    first, mixed, second = calibrated(labels).covariance
    assert 0 < first <= 1 + 1e-9
    assert 0 < second <= 0.25 + 1e-9
    assert first * second - mixed * mixed >= -1e-12


def drawn(intercept: float, slope: float, rows: int) -> list[LabelledRows]:
    draw = random.Random(3)
    found = []
    for _ in range(rows):
        confidence = round(sigmoid(draw.gauss(1.5, 1.5)), 4)
        truth = sigmoid(intercept + slope * logit(confidence))
        found.append(LabelledRows(confidence, 1, int(draw.random() < truth)))
    return found


def test_many_labels_find_the_true_relation() -> None:
    found = calibrated(drawn(-0.5, 0.7, 20_000))
    assert found.intercept == pytest.approx(-0.5, abs=0.08)
    assert found.slope == pytest.approx(0.7, abs=0.05)


def test_more_labels_are_less_uncertain() -> None:
    few, many = (calibrated(drawn(0, 1, rows)).covariance for rows in (100, 5_000))
    assert many[0] < few[0]
    assert many[2] < few[2]


def test_labels_that_are_all_right_do_not_make_answers_certain() -> None:
    found = calibrated([LabelledRows(0.9, 200, 200)])
    assert 0.9 < found.probability(0.9) < 1


def test_posterior_is_stationary_at_the_result() -> None:
    labels = drawn(0.4, 1.3, 500)
    found = calibrated(labels)

    def log_posterior(at: Calibration) -> float:
        from math import log

        prior = -0.5 * (at.intercept**2 + ((at.slope - 1) / 0.5) ** 2)
        return prior + sum(
            log(at.probability(one.confidence) if one.right else 1 - at.probability(one.confidence))
            for one in labels
        )

    best = log_posterior(found)
    for change in (-0.05, 0.05):
        assert log_posterior(Calibration(found.intercept + change, found.slope)) < best
        assert log_posterior(Calibration(found.intercept, found.slope + change)) < best


def test_labels_start_from_what_is_expected() -> None:
    expected = Calibration(-0.5, 0.7)
    assert (calibrated([], expected).intercept, calibrated([], expected).slope) == (-0.5, 0.7)
    labels = drawn(0.5, 1.2, 20_000)
    found = calibrated(labels, expected)
    assert (found.intercept, found.slope) == pytest.approx((0.5, 1.2), abs=0.08)


def test_statement_of_a_release_is_read_as_it_was_named() -> None:
    stated = HeldOutConfidence(450, Calibration(0.1, 0.4, (0.02, -0.001, 0.003)))
    figures = {"text_f1_plain": 0.8, **stated.named("text")}
    assert HeldOutConfidence.read("text", figures) == stated
    assert HeldOutConfidence.read("fusion", figures) is None
    assert HeldOutConfidence.read("text", {"text_f1_plain": 0.8}) is None
