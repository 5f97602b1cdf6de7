"""Two concurrent monitors select the reviews of a day once, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from shared.db.models import Review, User
from shared.db.session import UnitOfWork
from tests.support.factories import make_job
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.reviews import Reviews
from trainer.monitoring.settings import MonitorSettings

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
JOBS = 200


def test_two_monitors_select_the_reviews_of_a_day_once(
    unit_of_work: UnitOfWork, user: User
) -> None:
    jobs = [
        make_job(user, status="done", finished_at=NOON, confidence=number / JOBS)
        for number in range(JOBS)
    ]
    with unit_of_work() as work:
        work.session.add_all(jobs)
    settings = MonitorSettings(reviews_random=20, reviews_uncertain=20)
    day = Period.day(NOON)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda _: Reviews(unit_of_work, settings).choose_day(day), range(2)))
    with unit_of_work.reading() as session:
        reviews = session.query(Review).all()
    assert sorted(counts) == [0, len(reviews)]
    assert 15 < len(reviews) < 70
    assert all(0 < review.chance <= 1 for review in reviews)
