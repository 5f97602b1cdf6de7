"""Answers are sampled for review with known probabilities."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from shared.db.migrations.upgrade import upgrade
from shared.db.models import Job, Review, new_id
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from trainer.datasets.labelled.drawn_answers import RANDOM, UNCERTAIN
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.performance.reviews import (
    Floats,
    Reviews,
    draw_reviews,
    plan_sample,
    random_number,
    sampling_level,
    uncertainties,
)
from trainer.monitoring.settings import MonitorSettings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
#: The following night, when the day is over.
NIGHT = datetime(2026, 11, 26, 1, tzinfo=UTC)


@pytest.fixture
def unit_of_work(tmp_path: Path) -> Iterator[UnitOfWork]:
    url = f"sqlite:///{tmp_path / 'rayon.db'}"
    upgrade(url)
    engine = open_engine(DatabaseSettings(url=SecretStr(url)))
    yield UnitOfWork(engine, FakeBroker())
    engine.dispose()


@pytest.fixture
def reviews(unit_of_work: UnitOfWork) -> Reviews:
    return Reviews(unit_of_work, MonitorSettings(reviews_random=10, reviews_uncertain=20))


@pytest.fixture
def answers() -> Floats:
    """Return confidences of a day, most of them high."""
    return np.random.default_rng(0).beta(5, 1.2, 2_000)


def fill(unit_of_work: UnitOfWork, confidences: Floats, finished_at: datetime = NOON) -> list[str]:
    """Add a day's answers; return their ids."""
    user = make_user(new_id())
    jobs = [
        make_job(user, status="done", finished_at=finished_at, confidence=float(confidence))
        for confidence in confidences
    ]
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add_all(jobs)
    return [job.id for job in jobs]


def kept(unit_of_work: UnitOfWork) -> dict[str, tuple[str, float]]:
    """Return reason and probability of each review, by job."""
    with unit_of_work.reading() as session:
        return {review.job_id: (review.reason, review.chance) for review in session.query(Review)}


# The sampling plan


def test_probabilities_add_up_to_the_wanted_sizes(answers: Floats) -> None:
    made = plan_sample(answers, 50, 50)
    assert made.random == 50 / 2_000
    assert made.uncertain.sum() == pytest.approx(50)
    assert made.chances.min() >= made.random


@pytest.mark.parametrize("wanted", [1, 5, 40, 99, 100, 500])
def test_level_gives_the_wanted_size_for_any_number_of_certain_answers(wanted: int) -> None:
    sizes = np.concatenate([np.full(5, 1.0), np.linspace(0.001, 0.1, 95), np.zeros(10)])
    chances = np.minimum(1.0, sampling_level(sizes, wanted) * sizes)
    assert chances.sum() == pytest.approx(min(wanted, 100))
    # Below 1, the probabilities are proportional to the sizes.
    free = (chances < 1) & (sizes > 0)
    assert np.ptp(chances[free] / sizes[free]) == pytest.approx(0, abs=1e-9) if free.any() else True


def test_uncertain_part_is_empty_if_all_answers_are_certain() -> None:
    made = plan_sample(np.ones(100), 10, 10)
    assert not made.uncertain.any()
    assert made.chances == pytest.approx(0.1)


def test_small_days_are_drawn_completely() -> None:
    confidences = np.array([0.2, 1.0, 0.7])
    rows = list(draw_reviews(plan_sample(confidences, 10, 10), NOON, ["a", "b", "c"]))
    assert [(row["job_id"], row["chance"]) for row in rows] == [("a", 1), ("b", 1), ("c", 1)]


def test_low_confidence_raises_the_probability() -> None:
    confidences = np.linspace(0, 1, 1_000)
    chances = plan_sample(confidences, 20, 20).chances
    assert (np.diff(chances) <= 0).all()
    assert chances[0] > 2 * chances[-1]


def test_odds_raise_the_chances_of_the_uncertain_part_alone() -> None:
    confidences, odds = np.full(1_000, 0.6), np.repeat([1.0, 5.0], [800, 200])
    made, without = plan_sample(confidences, 50, 50, odds), plan_sample(confidences, 50, 50)
    assert made.uncertain[-1] == pytest.approx(5 * made.uncertain[0])
    assert made.uncertain.sum() == pytest.approx(50)
    assert made.random == without.random


def test_odds_of_one_change_nothing(answers: Floats) -> None:
    made, without = (
        plan_sample(answers, 50, 50, np.ones(len(answers))),
        plan_sample(answers, 50, 50),
    )
    assert (made.uncertain == without.uncertain).all()


# The draw


def test_random_numbers_are_reproducible_and_uniform() -> None:
    numbers = np.array([random_number(RANDOM, NOON, f"job-{number}") for number in range(4_000)])
    again = np.array([random_number(RANDOM, NOON, f"job-{number}") for number in range(4_000)])
    other = np.array([random_number(UNCERTAIN, NOON, f"job-{number}") for number in range(4_000)])
    assert (numbers == again).all()
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(400, abs=100)
    assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.06


def test_weighted_sample_is_an_unbiased_estimate_of_the_accuracy(answers: Floats) -> None:
    # Given a day whose answers are calibrated
    correct = np.random.default_rng(1).random(len(answers)) < answers
    truth = correct.mean()
    made = plan_sample(answers, 50, 50)
    ids = [f"job-{number}" for number in range(len(answers))]
    position = {id_: number for number, id_ in enumerate(ids)}

    # When samples are drawn on many days
    weighted, naive, sizes = [], [], []
    for number in range(300):
        rows = list(draw_reviews(made, NOON + number * DAY, ids))
        hits = correct[[position[row["job_id"]] for row in rows]]
        weights = 1 / np.array([row["chance"] for row in rows])
        weighted.append((hits * weights).sum() / len(answers))
        naive.append(hits.mean())
        sizes.append(len(rows))

    # I expect the weighted mean to equal the truth within its error, and the naive one not to
    error, naive_error = (np.std(means) / np.sqrt(len(means)) for means in (weighted, naive))
    assert np.mean(weighted) == pytest.approx(truth, abs=3 * error)
    assert 3 * error < 0.02
    assert truth - np.mean(naive) > 10 * naive_error
    assert np.mean(sizes) == pytest.approx(made.chances.sum(), rel=0.05)


@pytest.mark.parametrize("part", ["either", RANDOM])
def test_weighted_sample_is_unbiased_although_what_has_changed_is_drawn_more_often(
    part: str,
) -> None:
    # Given a day on which every fifth answer is to a product of a new kind, most of them wrong
    generator = np.random.default_rng(2)
    is_new = np.arange(2_000) % 5 == 0
    correct = generator.random(2_000) < np.where(is_new, 0.3, 0.8)
    odds = np.where(is_new, 8.0, 0.5)
    made = plan_sample(generator.beta(5, 1.2, 2_000), 50, 50, odds)
    ids = [f"job-{number}" for number in range(2_000)]
    position = {id_: number for number, id_ in enumerate(ids)}

    # When samples are drawn on many days
    means, shares = [], []
    for number in range(300):
        rows = list(draw_reviews(made, NOON + number * DAY, ids))
        chosen = [row for row in rows if part == "either" or row["reason"] == RANDOM]
        places = [position[row["job_id"]] for row in chosen]
        name = "chance" if part == "either" else "random_chance"
        means.append((correct[places] / [row[name] for row in chosen]).sum() / 2_000)
        shares.append(is_new[places].mean())

    # I expect the truth within its error, and a random part that does not know of the change
    error = np.std(means) / np.sqrt(len(means))
    assert np.mean(means) == pytest.approx(correct.mean(), abs=3 * error)
    assert 3 * error < 0.02
    if part == RANDOM:
        assert np.mean(shares) == pytest.approx(0.2, abs=0.01)
    else:
        assert np.mean(shares) > 0.4


def test_stored_probability_equals_the_frequency_of_being_drawn() -> None:
    confidences = np.concatenate([np.full(5, 0.1), np.full(45, 0.95)])
    ids = [f"job-{number}" for number in range(50)]
    made = plan_sample(confidences, 5, 5)
    times = np.zeros(50)
    for number in range(2_000):
        for row in draw_reviews(made, NOON + number * DAY, ids):
            times[ids.index(row["job_id"])] += 1
    assert times / 2_000 == pytest.approx(made.chances, abs=0.05)


# The daily schedule


def test_sample_of_the_previous_day_is_drawn_once(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    ids = fill(unit_of_work, answers[:500])
    reviews.choose(NIGHT)
    first = kept(unit_of_work)
    assert 10 < len(first) < 60
    assert first.keys() <= set(ids)
    assert {reason for reason, _ in first.values()} == {RANDOM, UNCERTAIN}
    reviews.choose(NIGHT + timedelta(minutes=15))
    assert kept(unit_of_work) == first


def test_another_monitor_draws_the_same_sample(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    fill(unit_of_work, answers[:500])
    day = Period.day(NOON)
    reviews.choose_day(day)
    first = kept(unit_of_work)
    with unit_of_work() as work:
        work.session.query(Review).delete()
    assert reviews.choose_day(day) == len(first)
    assert kept(unit_of_work) == first


def test_stored_probability_is_that_of_the_plan_sample(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    ids = fill(unit_of_work, answers[:500])
    reviews.choose(NIGHT)
    chances = dict(zip(ids, plan_sample(answers[:500], 10, 20).chances, strict=True))
    for id_, (_, chance) in kept(unit_of_work).items():
        assert chance == pytest.approx(chances[id_])


def test_unfinished_day_is_not_sampled(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    fill(unit_of_work, answers[:50])
    reviews.choose(NOON + timedelta(hours=1))
    reviews.choose(datetime(2026, 11, 26, 0, 5, tzinfo=UTC))
    assert kept(unit_of_work) == {}
    reviews.choose(datetime(2026, 11, 26, 0, 15, tzinfo=UTC))
    assert kept(unit_of_work)


def test_missed_days_are_sampled_later(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    early = fill(unit_of_work, answers[:40], NOON - 3 * DAY)
    fill(unit_of_work, answers[:40], NOON - 30 * DAY)
    reviews.choose(NIGHT)
    assert kept(unit_of_work).keys() <= set(early)
    assert kept(unit_of_work)


def test_only_answered_jobs_are_drawn(reviews: Reviews, unit_of_work: UnitOfWork) -> None:
    user = make_user()
    failed = make_job(user, status="failed", finished_at=NOON)
    done = make_job(user, status="done", finished_at=NOON, confidence=0.9, label=10)
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add_all([failed, done])
    reviews.choose(NIGHT)
    # An existing label does not exclude the answer, which would bias the sample.
    assert kept(unit_of_work).keys() == {done.id}
    with unit_of_work.reading() as session:
        assert session.get(Job, failed.id) is not None


def test_uncertainty_is_one_minus_the_confidence() -> None:
    assert uncertainties(np.array([-0.1, 0.25, 1.2])) == pytest.approx([1, 0.75, 0])


def test_answers_to_foreign_products_are_drawn_like_the_least_sure(
    unit_of_work: UnitOfWork, reviews: Reviews
) -> None:
    ids = fill(unit_of_work, np.full(2_000, 0.95))
    foreign = set(ids[:200])
    with unit_of_work() as work:
        work.session.query(Job).filter(Job.id.in_(foreign)).update({"is_foreign": True})
    reviews.choose(NIGHT)
    found = kept(unit_of_work)
    chances = {id_: chance for id_, (_, chance) in found.items()}
    sure = [chance for id_, chance in chances.items() if id_ not in foreign]
    drawn = [chance for id_, chance in chances.items() if id_ in foreign]
    assert drawn
    assert min(drawn) > 5 * max(sure)
