"""Answers are chosen for review by chance, and each chance is known."""

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
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.performance.reviews import (
    RANDOM,
    UNCERTAIN,
    Floats,
    Reviews,
    chosen,
    doubts,
    level_of,
    lot,
    plan,
)
from trainer.monitoring.settings import MonitorSettings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
#: The night after, when the day is over.
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
    """Confidences of a day: most are sure."""
    return np.random.default_rng(0).beta(5, 1.2, 2_000)


def fill(unit_of_work: UnitOfWork, confidences: Floats, finished_at: datetime = NOON) -> list[str]:
    """Add a day's answers; returns their ids."""
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
    """Reason and chance of each review, by job."""
    with unit_of_work.reading() as session:
        return {one.job_id: (one.reason, one.chance) for one in session.query(Review)}


# The plan


def test_chances_add_up_to_the_wanted_sizes(answers: Floats) -> None:
    made = plan(answers, 50, 50)
    assert made.random == 50 / 2_000
    assert made.uncertain(answers).sum() == pytest.approx(50)
    assert made.chances(answers).min() >= made.random


@pytest.mark.parametrize("wanted", [1, 5, 40, 99, 100, 500])
def test_level_is_right_however_many_are_certain(wanted: int) -> None:
    sizes = np.concatenate([np.full(5, 1.0), np.linspace(0.001, 0.1, 95), np.zeros(10)])
    chances = np.minimum(1.0, level_of(sizes, wanted) * sizes)
    assert chances.sum() == pytest.approx(min(wanted, 100))
    # Below 1 they are in proportion to the sizes.
    free = (chances < 1) & (sizes > 0)
    assert np.ptp(chances[free] / sizes[free]) == pytest.approx(0, abs=1e-9) if free.any() else True


def test_nothing_is_uncertain_where_all_are_sure() -> None:
    made = plan(np.ones(100), 10, 10)
    assert not made.uncertain(np.ones(100)).any()
    assert made.chances(np.ones(100)) == pytest.approx(0.1)


def test_few_answers_are_all_chosen() -> None:
    confidences = np.array([0.2, 1.0, 0.7])
    rows = list(chosen(plan(confidences, 10, 10), NOON, ["a", "b", "c"], confidences))
    assert [(row["job_id"], row["chance"]) for row in rows] == [("a", 1), ("b", 1), ("c", 1)]


def test_unsure_answers_are_more_likely_than_sure_ones() -> None:
    confidences = np.linspace(0, 1, 1_000)
    chances = plan(confidences, 20, 20).chances(confidences)
    assert (np.diff(chances) <= 0).all()
    assert chances[0] > 2 * chances[-1]


# The choice


def test_lots_are_the_same_each_time_and_even() -> None:
    lots = np.array([lot(RANDOM, NOON, f"job-{number}") for number in range(4_000)])
    again = np.array([lot(RANDOM, NOON, f"job-{number}") for number in range(4_000)])
    other = np.array([lot(UNCERTAIN, NOON, f"job-{number}") for number in range(4_000)])
    assert (lots == again).all()
    assert np.histogram(lots, 10, (0, 1))[0] == pytest.approx(400, abs=100)
    assert abs(np.corrcoef(lots, other)[0, 1]) < 0.06


def test_chosen_rows_weighted_by_their_chance_give_the_true_accuracy(answers: Floats) -> None:
    # Given a day whose answers are right as often as they are confident
    right = np.random.default_rng(1).random(len(answers)) < answers
    truth = right.mean()
    made = plan(answers, 50, 50)
    ids = [f"job-{number}" for number in range(len(answers))]
    position = {id_: number for number, id_ in enumerate(ids)}

    # When answers are chosen on many days
    weighted, naive, sizes = [], [], []
    for number in range(300):
        rows = list(chosen(made, NOON + number * DAY, ids, answers))
        hits = right[[position[row["job_id"]] for row in rows]]
        weights = 1 / np.array([row["chance"] for row in rows])
        weighted.append((hits * weights).sum() / len(answers))
        naive.append(hits.mean())
        sizes.append(len(rows))

    # I expect the weighted mean to be the truth within its error, and the naive one far outside
    error, naive_error = (np.std(one) / np.sqrt(len(one)) for one in (weighted, naive))
    assert np.mean(weighted) == pytest.approx(truth, abs=3 * error)
    assert 3 * error < 0.02
    assert truth - np.mean(naive) > 10 * naive_error
    assert np.mean(sizes) == pytest.approx(made.chances(answers).sum(), rel=0.05)


def test_kept_chance_is_how_often_an_answer_is_chosen() -> None:
    confidences = np.concatenate([np.full(5, 0.1), np.full(45, 0.95)])
    ids = [f"job-{number}" for number in range(50)]
    made = plan(confidences, 5, 5)
    times = np.zeros(50)
    for number in range(2_000):
        for row in chosen(made, NOON + number * DAY, ids, confidences):
            times[ids.index(row["job_id"])] += 1
    assert times / 2_000 == pytest.approx(made.chances(confidences), abs=0.05)


# The daily round


def test_answers_of_the_day_before_are_chosen_once(
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


def test_same_day_is_chosen_alike_by_another_monitor(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    fill(unit_of_work, answers[:500])
    day = Period.day(NOON)
    reviews.choose_of(day)
    first = kept(unit_of_work)
    with unit_of_work() as work:
        work.session.query(Review).delete()
    assert reviews.choose_of(day) == len(first)
    assert kept(unit_of_work) == first


def test_chance_that_is_kept_is_that_of_the_plan(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    ids = fill(unit_of_work, answers[:500])
    reviews.choose(NIGHT)
    chances = dict(zip(ids, plan(answers[:500], 10, 20).chances(answers[:500]), strict=True))
    for id_, (_, chance) in kept(unit_of_work).items():
        assert chance == pytest.approx(chances[id_])


def test_day_that_is_not_over_is_left_alone(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    fill(unit_of_work, answers[:50])
    reviews.choose(NOON + timedelta(hours=1))
    reviews.choose(datetime(2026, 11, 26, 0, 5, tzinfo=UTC))
    assert kept(unit_of_work) == {}
    reviews.choose(datetime(2026, 11, 26, 0, 15, tzinfo=UTC))
    assert kept(unit_of_work)


def test_days_that_the_monitor_missed_are_made_up_for(
    reviews: Reviews, unit_of_work: UnitOfWork, answers: Floats
) -> None:
    early = fill(unit_of_work, answers[:40], NOON - 3 * DAY)
    fill(unit_of_work, answers[:40], NOON - 30 * DAY)
    reviews.choose(NIGHT)
    assert kept(unit_of_work).keys() <= set(early)
    assert kept(unit_of_work)


def test_only_answers_are_chosen(reviews: Reviews, unit_of_work: UnitOfWork) -> None:
    user = make_user()
    failed = make_job(user, status="failed", finished_at=NOON)
    done = make_job(user, status="done", finished_at=NOON, confidence=0.9, label=10)
    with unit_of_work() as work:
        work.session.add(user)
        work.session.flush()
        work.session.add_all([failed, done])
    reviews.choose(NIGHT)
    # A label that its owner gave before changes nothing: leaving such out would bias the rest.
    assert kept(unit_of_work).keys() == {done.id}
    with unit_of_work.reading() as session:
        assert session.get(Job, failed.id) is not None


def test_doubt_is_what_confidence_leaves() -> None:
    assert doubts(np.array([-0.1, 0.25, 1.2])) == pytest.approx([1, 0.75, 0])
