"""Concurrent scores of two modalities complete each job exactly once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from shared import metrics
from shared.contracts import Lane, Modality, ModalityScore, ModalityScored
from shared.db.models import Job, Score, User
from shared.db.session import UnitOfWork
from tests.support.factories import make_job
from tests.support.fakes import FolderReleases
from tests.support.tiny_release import write_tiny_release
from worker_fusion.join import Fusions, Join

JOBS, SLICE = 200, 10


@pytest.fixture
def join(unit_of_work: UnitOfWork, tmp_path: Path) -> Join:
    write_tiny_release(tmp_path / "releases" / "1")
    return Join(unit_of_work, Fusions(FolderReleases(tmp_path / "releases")))


@pytest.fixture
def ids(unit_of_work: UnitOfWork, user: User) -> list[str]:
    jobs = [make_job(user, wants_image=True) for _ in range(JOBS)]
    with unit_of_work() as work:
        work.session.add_all(jobs)
    return [job.id for job in jobs]


def slices(modality: Modality, ids: list[str]) -> list[ModalityScored]:
    """Return the scores of all jobs in slices.

    Each modality has another order, so that the slices of two modalities overlap.
    """
    shuffled = random.Random(modality.value).sample(ids, len(ids))
    return [
        ModalityScored(
            trace_id="a" * 32,
            lane=Lane.CATALOG,
            release="1",
            modality=modality,
            items=tuple(
                ModalityScore(job_id=id_, probabilities=(0.2, 0.8))
                for id_ in shuffled[start : start + SLICE]
            ),
        )
        for start in range(0, len(shuffled), SLICE)
    ]


def finished() -> float:
    return float(metrics.jobs_finished_total.labels("done")._value.get())


@pytest.mark.parametrize("deliveries", [1, 2])
def test_concurrent_and_repeated_scores_complete_each_job_once(
    join: Join, unit_of_work: UnitOfWork, ids: list[str], deliveries: int
) -> None:
    before = finished()
    deliverers = [slices(modality, ids) for modality in Modality] * deliveries
    start = threading.Barrier(len(deliverers))

    def deliver(messages: list[ModalityScored]) -> None:
        start.wait()
        for message in messages:
            join.on_modality_scored(message)

    with ThreadPoolExecutor(len(deliverers)) as threads:
        for result in [threads.submit(deliver, messages) for messages in deliverers]:
            result.result(120)
    with unit_of_work.reading() as session:
        states = session.execute(
            select(Job.status, Job.prdtypecode, func.count()).group_by(Job.status, Job.prdtypecode)
        ).all()
        scores = session.scalar(select(func.count()).select_from(Score))
    assert [tuple(row) for row in states] == [("done", 2583, JOBS)]
    assert scores == 2 * JOBS
    assert finished() - before == JOBS
