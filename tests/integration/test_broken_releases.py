"""Workers whose local copy of a release is broken, as processes with Redis and a database."""

from pathlib import Path

import pytest

from shared.broker import Broker
from shared.contracts import Lane, ScoreText, TextItem
from shared.db.models import DeadLetter, Job, User
from shared.db.session import UnitOfWork
from shared.inference.releases.checksums import CHECKSUMS, Checksums
from tests.integration.conftest import Workers
from tests.support.factories import make_job
from tests.support.servers import free_port, until
from tests.support.tiny_release import write_tiny_release

SECONDS = 90
MODULES = ("worker_text.main", "worker_fusion.main")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write the copies of releases 1 and 2; return the text model of the second."""
    for version in ("1", "2"):
        folder = write_tiny_release(tmp_path / "releases" / version)
        (folder / CHECKSUMS).write_text(Checksums.of(folder).content)
    return tmp_path / "releases/2/text/model.onnx"


@pytest.fixture
def system(workers: Workers, database_url: str, tmp_path: Path) -> Workers:
    """Return workers with these copies and no registry at its address."""
    workers.environment |= {
        "RAYON_DATABASE_URL": database_url,
        "RAYON_RELEASES_CACHE": str(tmp_path / "releases"),
        "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
        # A message that counted as failed would be parked at its second delivery
        "RAYON_BROKER_MAX_DELIVERIES": "1",
    }
    return workers


def submit(unit_of_work: UnitOfWork, broker: Broker, user: User, release: str) -> Job:
    """Store a job and then send its message, as the gateway does."""
    job = make_job(user, designation="piscine ronde", release=release)
    item = TextItem(job_id=job.id, designation=job.designation, description="")
    with UnitOfWork(unit_of_work.engine, broker)() as work:
        work.session.add(job)
        work.publish(
            ScoreText(
                trace_id="a" * 32,
                lane=Lane.INTERACTIVE,
                release=release,
                user_id=user.id,
                items=(item,),
            )
        )
    return job


def status(unit_of_work: UnitOfWork, job: Job) -> str:
    with unit_of_work.reading() as session:
        return str(session.get_one(Job, job.id).status)


def test_job_waits_for_a_broken_release_and_is_answered_once_it_is_mended(
    system: Workers, unit_of_work: UnitOfWork, broker: Broker, user: User, model: Path
) -> None:
    # Given a broken copy that cannot be fetched again
    good = model.read_bytes()
    model.write_bytes(good[: len(good) // 2])
    for module in MODULES:
        system.start(module)

    # When jobs ask for it and for another release
    broken, other = (submit(unit_of_work, broker, user, version) for version in ("2", "1"))

    # I expect the other to be answered, the reason in the announcement, and the job to wait
    until(lambda: status(unit_of_work, other) == "done", SECONDS, "the other release answers")

    def announced() -> bool:
        found = (worker.unloadable for worker in broker.workers())
        return any("text/model.onnx" in reasons.get("2", "") for reasons in found)

    until(announced, SECONDS, "the worker says what it cannot load")
    assert status(unit_of_work, broken) == "queued"

    # And its answer once there is a good copy, without a restart
    model.write_bytes(good)
    until(lambda: status(unit_of_work, broken) == "done", SECONDS, "the job is answered")
    until(lambda: not announced(), SECONDS, "the worker announces no fault")
    with unit_of_work.reading() as session:
        assert session.query(DeadLetter).count() == 0
