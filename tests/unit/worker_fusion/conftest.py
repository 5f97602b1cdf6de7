"""Fixtures of the fusion worker: SQLite and a tiny release."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.contracts import Failure, Lane, Modality, ModalityScore, ModalityScored
from shared.db.models import Base, Job, Score
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker, FolderReleases
from tests.support.tiny_release import write_tiny_release
from worker_fusion.dead_letters import DeadLetters
from worker_fusion.explanations import Explanations
from worker_fusion.join import Fusions, Join


class Scene:
    """Handlers of the fusion worker, and the rows that they write."""

    def __init__(self, unit_of_work: UnitOfWork, registry: FolderReleases) -> None:
        self.unit_of_work = unit_of_work
        self.registry = registry
        self.join = Join(unit_of_work, Fusions(registry))
        self.explanations = Explanations(unit_of_work)
        self.dead_letters = DeadLetters(unit_of_work, self.join, self.explanations)
        self.user = make_user()
        with unit_of_work() as work:
            work.session.add(self.user)

    def add(self, **changes: object) -> str:
        """Add a job that wants both modalities, and return its id."""
        job = make_job(self.user, **{"wants_image": True, **changes})
        with self.unit_of_work() as work:
            work.session.add(job)
        return job.id

    def job(self, id_: str) -> Job:
        with self.unit_of_work.reading() as session:
            job = session.get(Job, id_)
        assert job is not None
        return job

    def scores(self) -> int:
        with self.unit_of_work.reading() as session:
            return session.query(Score).count()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("releases")
    write_tiny_release(root / "2", modalities=[Modality.TEXT])
    return write_tiny_release(root / "1")


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def scene(tmp_path: Path, folder: Path, broker: FakeBroker) -> Iterator[Scene]:
    url = SecretStr(f"sqlite:///{tmp_path / 'rayon.db'}")
    engine = open_engine(DatabaseSettings(url=url))
    Base.metadata.create_all(engine)
    yield Scene(UnitOfWork(engine, broker), FolderReleases(folder.parent))
    engine.dispose()


def scored(modality: Modality, *ids: str, release: str = "1", likely: int = 1) -> ModalityScored:
    """Build a message with the same probabilities for all jobs."""
    probabilities = (0.1, 0.9) if likely else (0.9, 0.1)
    items = tuple(ModalityScore(job_id=id_, probabilities=probabilities) for id_ in ids)
    return make_scored(modality, release, items)


def failed(
    modality: Modality, *ids: str, code: str = "image_unreadable", release: str = "1"
) -> ModalityScored:
    """Build a message with the same failure for all jobs."""
    failure = Failure(code=code, message=f"The {modality.value} is broken")
    items = tuple(ModalityScore(job_id=id_, failure=failure) for id_ in ids)
    return make_scored(modality, release, items)


def make_scored(
    modality: Modality, release: str, items: tuple[ModalityScore, ...]
) -> ModalityScored:
    """Build a message with the given scores."""
    return ModalityScored(
        trace_id="a" * 32, lane=Lane.INTERACTIVE, release=release, modality=modality, items=items
    )
