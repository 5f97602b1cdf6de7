"""While trainings learn from a change, reviews are drawn from what has changed."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from shared.db.migrations.upgrade import upgrade
from shared.db.models import AlertStatus, DriftAlert, Job, Review, User, new_id, now
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from trainer.datasets.labelled.drawn_answers import RANDOM, UNCERTAIN
from trainer.monitoring.performance import text_odds
from trainer.monitoring.performance.changed_texts import changed_odds, products_before
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.performance.reviews import Reviews
from trainer.monitoring.performance.text_odds import MOST_COMPARED, MOST_ODDS, TextOdds
from trainer.monitoring.settings import MonitorSettings

NOON = now().replace(hour=12, minute=0, second=0, microsecond=0) - DAY
TODAY = Period.day(NOON)
#: Products of the change are every fourth of the day.
PRODUCTS, EVERY = 800, 4
OLD = ("chaise", "pliante", "jardin", "bois", "rouge", "lot", "enfant", "piscine", "jouet", "livre")
NEW = ("folding", "garden", "chair", "wooden", "red", "set", "kids", "pool", "toy", "book")


@pytest.fixture
def unit_of_work(tmp_path: Path) -> Iterator[UnitOfWork]:
    url = f"sqlite:///{tmp_path / 'rayon.db'}"
    upgrade(url)
    engine = open_engine(DatabaseSettings(url=SecretStr(url)))
    yield UnitOfWork(engine, FakeBroker())
    engine.dispose()


@pytest.fixture
def user(unit_of_work: UnitOfWork) -> User:
    found = make_user()
    with unit_of_work() as work:
        work.session.add(found)
    return found


def titles(words: Sequence[str], count: int, seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).choice(words, (count, 4))
    return [" ".join(line) for line in drawn]


def answer(unit_of_work: UnitOfWork, user: User, moment: datetime, texts: Sequence[str]) -> None:
    """Store answers of one confidence."""
    with unit_of_work() as work:
        for text in texts:
            fields = {"finished_at": moment, "confidence": 0.6, "designation": text}
            work.session.add(make_job(user, status="done", **fields))


def changed_day(unit_of_work: UnitOfWork, user: User) -> None:
    """Store a day's answers, a quarter of them of the new kind, and those of the week before."""
    for days in range(1, 8):
        answer(unit_of_work, user, NOON - days * DAY, titles(OLD, 100, days))
    texts = titles(OLD, PRODUCTS, 0)
    texts[::EVERY] = titles(NEW, PRODUCTS // EVERY, 0)
    answer(unit_of_work, user, NOON, texts)


def alert(
    unit_of_work: UnitOfWork,
    *,
    status: AlertStatus = AlertStatus.OPEN,
    since: datetime | None = TODAY.begins_at,
) -> None:
    details = {} if since is None else {"since": since.isoformat()}
    with unit_of_work() as work:
        work.session.add(
            DriftAlert(
                source="monitor",
                raised_by="drift",
                kind="text",
                release="2",
                fingerprint="drift:2:text",
                summary="Texts differ",
                details=details,
                steps=[],
                status=status.value,
            )
        )


def drawn(unit_of_work: UnitOfWork) -> dict[str, list[bool]]:
    """Draw the day; return for each part whether its reviews are of the new kind."""
    settings = MonitorSettings(reviews_random=100, reviews_uncertain=100)
    Reviews(unit_of_work, settings).choose_day(TODAY)
    found: dict[str, list[bool]] = {RANDOM: [], UNCERTAIN: []}
    with unit_of_work.reading() as session:
        query = select(Review.reason, Job.designation).join(Job, Job.id == Review.job_id)
        for reason, title in session.execute(query):
            found[reason].append(title.split()[0] in NEW)
    return found


# The drawing


def test_what_has_changed_is_drawn_more_often_in_the_uncertain_part_alone(
    unit_of_work: UnitOfWork, user: User
) -> None:
    # Given answers of one confidence, a quarter of them to products of a new language
    changed_day(unit_of_work, user)

    # When an alert about them is open
    alert(unit_of_work)
    found = drawn(unit_of_work)

    # I expect most of the uncertain part to be of them, and the random part to stay as it was
    assert np.mean(found[UNCERTAIN]) > 0.6
    assert np.mean(found[RANDOM]) == pytest.approx(0.25, abs=0.1)


def test_without_a_change_reviews_are_drawn_as_before(unit_of_work: UnitOfWork, user: User) -> None:
    changed_day(unit_of_work, user)
    found = drawn(unit_of_work)
    assert np.mean(found[UNCERTAIN]) == pytest.approx(0.25, abs=0.1)
    assert len(found[UNCERTAIN]) > 50


def test_random_part_is_the_same_with_and_without_a_change(
    unit_of_work: UnitOfWork, user: User
) -> None:
    changed_day(unit_of_work, user)
    by_chance = []
    for is_changed in (False, True):
        if is_changed:
            alert(unit_of_work)
        drawn(unit_of_work)
        with unit_of_work() as work:
            rows = work.session.query(Review).filter(Review.reason == RANDOM)
            by_chance.append({row.job_id: row.random_chance for row in rows})
            work.session.query(Review).delete()
    assert by_chance[0] == by_chance[1]
    assert len(by_chance[0]) > 50


def test_odds_that_cannot_be_computed_do_not_stop_the_drawing(
    unit_of_work: UnitOfWork, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_day(unit_of_work, user)
    alert(unit_of_work)

    def fail(*_: object) -> None:
        raise ValueError("odd texts")

    monkeypatch.setattr(TextOdds, "fit", fail)
    assert len(drawn(unit_of_work)[UNCERTAIN]) > 50


# When there are odds


@pytest.mark.parametrize(
    ("status", "since"),
    [
        (AlertStatus.ENDED, TODAY.begins_at),
        (AlertStatus.ASKING, TODAY.begins_at),
        (AlertStatus.OPEN, None),
        (AlertStatus.OPEN, TODAY.ends_at),
        (AlertStatus.OPEN, NOON - 30 * DAY),
    ],
    ids=["no training", "not allowed", "not measured", "later", "nothing stored of before"],
)
def test_there_are_no_odds(
    unit_of_work: UnitOfWork, user: User, status: AlertStatus, since: datetime | None
) -> None:
    changed_day(unit_of_work, user)
    alert(unit_of_work, status=status, since=since)
    with unit_of_work.reading() as session:
        assert changed_odds(session, TODAY, list(session.scalars(select(Job.id)))) is None


def test_odds_follow_the_order_of_the_answers(unit_of_work: UnitOfWork, user: User) -> None:
    changed_day(unit_of_work, user)
    alert(unit_of_work)
    with unit_of_work.reading() as session:
        jobs = session.query(Job).filter(Job.finished_at == NOON).order_by(Job.id.desc()).all()
        ids = [job.id for job in jobs]
        odds = changed_odds(session, TODAY, [*ids, new_id()])
    assert odds is not None
    is_new = np.array([job.designation.split()[0] in NEW for job in jobs])
    assert odds[:-1][is_new].min() > 1 > odds[:-1][~is_new].mean()
    # No product of it is stored any more.
    assert odds[-1] == 1


def test_products_of_before_are_not_those_of_a_single_catalog(
    unit_of_work: UnitOfWork, user: User
) -> None:
    for days in range(1, 21):
        answer(unit_of_work, user, NOON - days * DAY, [f"jour {days}"] * 20)
    answer(unit_of_work, user, NOON - timedelta(hours=20), ["catalogue"] * MOST_COMPARED)
    with unit_of_work.reading() as session:
        found = [title for title, _ in products_before(session, TODAY.begins_at)]
    assert len(set(found)) >= 20
    assert found.count("catalogue") <= MOST_COMPARED / 10


# The odds of texts


def fitted(before: Sequence[str], today: Sequence[str]) -> tuple[TextOdds, list[str]]:
    ids = [f"job-{number}" for number in range(len(today))]
    return TextOdds.fit(products(before), ids, products(today)), ids


def products(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(text, "") for text in texts]


def test_odds_are_about_one_where_nothing_has_changed() -> None:
    today = titles(OLD, 500, 1)
    odds, ids = fitted(titles(OLD, 1_000, 0), today)
    found = odds.of(ids, products(today))
    assert np.quantile(found, 0.05) > 0.5
    assert np.quantile(found, 0.95) < 2


def test_odds_are_bounded_and_one_without_a_text() -> None:
    odds, _ = fitted(titles(OLD, 1_000, 0), titles(NEW, 500, 1))
    found = odds.of(["a", "b", "c"], products(["garden chair toy", "chaise jardin jouet", " "]))
    assert found == pytest.approx([MOST_ODDS, 1 / MOST_ODDS, 1])


def test_one_odd_text_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_on_odd(title: str, _: str) -> str:
        if title == "odd":
            raise ValueError("odd text")
        return title

    monkeypatch.setattr(text_odds, "product_text", fail_on_odd)
    odds, _ = fitted(titles(OLD, 1_000, 0), ["odd", *titles(NEW, 500, 1)])
    found = odds.of(["a", "b"], products(["odd", "garden chair"]))
    assert found == pytest.approx([1, MOST_ODDS])
