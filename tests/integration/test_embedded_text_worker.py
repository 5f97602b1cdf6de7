"""The text worker of the embedded run, which joins its own scores."""

from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from shared.broker import Broker
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import Score, User
from shared.db.session import UnitOfWork
from tests.integration.conftest import WorkerProcess, Workers
from tests.integration.test_workers import START_SECONDS, finish, submit
from tests.support.factories import make_job
from tests.support.servers import free_port, until
from tests.support.tiny_release import write_tiny_release

MODULE = "infra.embedded.text_worker"
TITLE = "piscine ronde avec pompe et filtre et echelle"


@pytest.fixture
def worker(workers: Workers, broker: Broker, database_url: str, tmp_path: Path) -> WorkerProcess:
    """Start the worker alone, with the release in its cache."""
    write_tiny_release(tmp_path / "releases" / "1", in_two_steps=True)
    workers.environment |= {
        "RAYON_DATABASE_URL": database_url,
        "RAYON_DATABASE_ANSWER_SECONDS": "1",
        "RAYON_RELEASES_CACHE": str(tmp_path / "releases"),
        "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
    }
    started = workers.start(MODULE)
    until(lambda: len(broker.workers()) == 1, START_SECONDS, "the worker is present")
    return started


@pytest.mark.usefixtures("worker")
def test_text_job_is_answered_without_a_fusion_worker(
    unit_of_work: UnitOfWork, broker: Broker, user: User
) -> None:
    job = make_job(user, designation=TITLE)
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", job)
    (found,) = finish(unit_of_work, job.id)
    assert (found.status, found.prdtypecode) == ("done", 2583)
    assert broker.depth("fusion.interactive").waiting == 0


@pytest.mark.usefixtures("worker")
def test_job_with_an_image_waits_for_its_score(
    unit_of_work: UnitOfWork, broker: Broker, user: User
) -> None:
    both = make_job(user, designation=TITLE, image_uri="images/00/00", wants_image=True)
    text_only = make_job(user, designation=TITLE)
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", both)
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", text_only)
    finish(unit_of_work, text_only.id)

    def scores() -> int:
        with unit_of_work.reading() as session:
            query = select(func.count()).where(Score.job_id == both.id)
            return session.scalar(query) or 0

    until(lambda: scores() == 1, START_SECONDS, "the text is scored")
    with unit_of_work.reading() as session:
        assert session.get_one(type(both), both.id).status == "queued"


@pytest.mark.usefixtures("worker")
def test_scores_that_cannot_be_joined_go_to_the_fusion_worker(
    unit_of_work: UnitOfWork, broker: Broker, user: User, workers: Workers
) -> None:
    first, second = (make_job(user, designation=TITLE) for _ in range(2))
    submit(unit_of_work, broker, Lane.INTERACTIVE, "1", first)
    finish(unit_of_work, first.id)
    with unit_of_work() as work:
        work.session.add(second)
    with unit_of_work() as work:
        # SQLite locks its file with the first statement.
        is_sqlite = work.session.get_bind().dialect.name == "sqlite"
        lock = "SELECT 1" if is_sqlite else "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"
        work.session.execute(text(lock))
        item = TextItem(job_id=second.id, designation=TITLE, description="")
        head = {"trace_id": "a" * 32, "lane": Lane.INTERACTIVE, "release": "1"}
        broker.publish(ScoreText.model_validate({**head, "items": (item,)}))
        until(
            lambda: broker.depth("fusion.interactive").waiting == 1,
            START_SECONDS,
            "the scores are sent",
        )
    workers.start("worker_fusion.main")
    (found,) = finish(unit_of_work, second.id)
    assert (found.status, found.prdtypecode) == ("done", 2583)
