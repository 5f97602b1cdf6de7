"""Measures of a promoted release beside the release before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trainer.monitoring.promotion_watch import measures
from trainer.monitoring.promotion_watch.measures import Finding, Pair, known_to_both
from trainer.monitoring.promotion_watch.observations import Answer, distinct
from trainer.monitoring.promotion_watch.replies import Product, Reply

LEVEL = 0.001
BEGIN = datetime(2026, 11, 2, 9, tzinfo=UTC)


def make_answers(
    count: int,
    *,
    failed: range = range(0),
    degraded: range = range(0),
    seconds: float = 0.2,
    every: float = 10.0,
    image: bool = False,
) -> list[Answer]:
    answers = []
    for place in range(count):
        at = BEGIN + timedelta(seconds=every * place)
        modalities = ["image", "text"] if image else ["text"]
        answers.append(
            Answer(
                product=Product(str(place), f"Piscine {place}", "", None, modalities),
                submitted_at=at,
                finished_at=at + timedelta(seconds=seconds),
                seconds=seconds + place % 7 / 100,
                is_interactive=True,
                is_failed=place in failed,
                is_degraded=place in degraded,
                replies={"fusion": Reply(10, 0.9)},
                label=None,
            )
        )
    return answers


def make_pairs(agreeing: int, differing: int, modality: str = "fusion") -> list[Pair]:
    same = Pair({modality: Reply(10, 0.8)}, {modality: Reply(10, 0.7)})
    other = Pair({modality: Reply(10, 0.8)}, {modality: Reply(2583, 0.7)})
    return [same] * agreeing + [other] * differing


def require(found: Finding | None) -> Finding:
    assert found is not None
    return found


def test_failures_from_the_first_answer_on_are_worse() -> None:
    found = require(
        measures.failures(make_answers(50, failed=range(0, 50, 2)), make_answers(200), LEVEL)
    )
    assert found.is_worse
    assert found.sentence.startswith("25 of 50 answers failed, 0 of 200 before")


def test_burst_of_failures_is_not_the_release() -> None:
    found = require(measures.failures(make_answers(50, failed=range(20)), make_answers(200), LEVEL))
    assert found.p_value < LEVEL
    assert not found.is_worse


def test_failures_as_before_are_not_worse() -> None:
    many = range(0, 200, 2)
    after, before = make_answers(100, failed=many), make_answers(200, failed=many)
    assert not require(measures.failures(after, before, LEVEL)).is_worse


def test_missing_modality_is_worse() -> None:
    found = require(
        measures.degraded(make_answers(30, degraded=range(30)), make_answers(50), LEVEL)
    )
    assert found.is_worse
    assert "lack a modality" in found.sentence


@pytest.mark.parametrize(("after", "before"), [(24, 100), (100, 24)])
def test_few_answers_are_not_compared(after: int, before: int) -> None:
    assert measures.failures(make_answers(after), make_answers(before), LEVEL) is None


def test_release_that_is_far_slower_is_worse() -> None:
    found = require(measures.latency(make_answers(80, seconds=3.0), make_answers(80), LEVEL))
    assert found.is_worse


def test_jam_for_a_part_of_the_answers_is_not_the_release() -> None:
    jam = [*make_answers(80), *make_answers(80, seconds=9.0)][40:120]
    assert not require(measures.latency(sorted_by_time(jam), make_answers(80), LEVEL)).is_worse


def sorted_by_time(answers: list[Answer]) -> list[Answer]:
    return [
        replace(one, submitted_at=BEGIN + timedelta(seconds=10 * place))
        for place, one in enumerate(answers)
    ]


def test_times_under_more_load_are_not_compared() -> None:
    busy = make_answers(400, seconds=3.0, every=1.0)
    assert measures.latency(busy, make_answers(80), LEVEL) is None


def test_times_of_other_modalities_are_not_compared() -> None:
    after = make_answers(80, seconds=3.0, image=True)
    assert measures.latency(after, make_answers(80), LEVEL) is None


def test_labels_compare_both_releases_on_the_same_products() -> None:
    lost = Pair({"fusion": Reply(10, 0.9)}, {"fusion": Reply(2583, 0.9)}, label=10)
    both = Pair({"fusion": Reply(10, 0.9)}, {"fusion": Reply(10, 0.9)}, label=10)
    found = require(measures.labels([lost] * 12 + [both] * 20, LEVEL))
    assert found.is_worse
    assert (found.value, found.before, found.rows) == (20 / 32, 1.0, 32)
    assert not require(measures.labels([lost] * 2 + [both] * 200, LEVEL)).is_worse
    assert measures.labels([], LEVEL) is None


def test_unlike_answers_are_worse_than_those_of_a_good_release() -> None:
    found = require(measures.agreement("fusion", make_pairs(1, 24), 0.8, LEVEL))
    assert found.is_worse
    assert found.before == pytest.approx(0.41)


def test_better_release_may_differ_where_the_one_before_errs() -> None:
    # A release that is right on three products of ten leaves seven to a better one.
    found = require(measures.agreement("fusion", make_pairs(12, 28), 0.3, LEVEL))
    assert not found.is_worse


def test_agreement_is_not_judged_without_an_accuracy_or_replies() -> None:
    assert measures.agreement("fusion", make_pairs(1, 24), None, LEVEL) is None
    assert measures.agreement("image", make_pairs(1, 24), 0.8, LEVEL) is None


def test_categories_that_one_release_lacks_are_left_out() -> None:
    pair = Pair(
        {"fusion": Reply(10, 0.9), "text": Reply(10, 0.9)},
        {"fusion": Reply(7, 0.9), "text": Reply(10, 0.9)},
        label=7,
    )
    codes = {"before": frozenset({10}), "new": frozenset({7, 10})}
    assert known_to_both(pair, codes) == Pair({"text": Reply(10, 0.9)}, {"text": Reply(10, 0.9)}, 7)


def test_same_product_is_one_observation() -> None:
    answers = make_answers(3)
    again = replace(answers[0], product=replace(answers[0].product, id="again"))
    empty = replace(answers[0], replies={})
    assert distinct([empty, *answers, again]) == answers
