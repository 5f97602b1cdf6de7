"""Training runs end clearly, one at a time, and promote only what is better."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from shared.db.models import Promotion, TrainingRun, new_id, now
from shared.db.session import UnitOfWork
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases import Releases
from shared.settings import TrainerSettings
from tests.factories import make_manifest
from tests.fakes import FakeReleases
from trainer.runs import Runs
from trainer.starter import import_starter


class RegisteringReleases(FakeReleases):
    """A registry in memory that takes new versions."""

    def register(self, folder: Path, *, description: str) -> str:
        version = str(len(self.manifests) + 1)
        self.manifests[version] = ReleaseManifest.read(folder)
        return version


class TrainedBefore(Runs):
    """Runs whose training takes no time: the release that comes out is given."""

    figure = 0.0

    def _run_child(self, run_id: str, data: Path, out: Path) -> None:
        out.mkdir(parents=True)
        make_manifest("new", figures={"fusion_f1_plain": self.figure}).write(out)


@pytest.fixture
def registry() -> RegisteringReleases:
    return RegisteringReleases()


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    return TrainerSettings(data=tmp_path / "no-such-data", work_folder=tmp_path / "training")


@pytest.fixture
def runs(
    unit_of_work: UnitOfWork, registry: RegisteringReleases, settings: TrainerSettings
) -> Runs:
    return Runs(unit_of_work, registry, settings, threading.Lock())


def add(unit_of_work: UnitOfWork, **changes: Any) -> str:
    id_ = new_id()
    with unit_of_work() as work:
        work.session.add(TrainingRun(id=id_, requested_by="ada", reason="drift", **changes))
    return id_


def show(unit_of_work: UnitOfWork, id_: str) -> TrainingRun:
    with unit_of_work.reading() as session:
        run = session.get(TrainingRun, id_)
    assert run is not None
    return run


def ledger(unit_of_work: UnitOfWork) -> list[tuple[str, str]]:
    with unit_of_work.reading() as session:
        rows = session.scalars(select(Promotion).order_by(Promotion.id))
        return [(row.version, row.promoted_by) for row in rows]


def test_run_without_data_fails_saying_so(
    unit_of_work: UnitOfWork, registry: RegisteringReleases, settings: TrainerSettings
) -> None:
    id_ = add(unit_of_work)
    bare = settings.model_copy(update={"data": None})
    Runs(unit_of_work, registry, bare, threading.Lock()).work_off()
    run = show(unit_of_work, id_)
    assert (run.status, run.leased_until) == ("failed", None)
    assert "RAYON_TRAINER_DATA" in (run.message or "")
    assert run.finished_at is not None


def test_training_that_breaks_fails_with_its_last_words(
    unit_of_work: UnitOfWork, runs: Runs
) -> None:
    id_ = add(unit_of_work)
    runs.work_off()
    run = show(unit_of_work, id_)
    assert run.status == "failed"
    assert "The training ended with" in (run.message or "")


def test_training_that_takes_too_long_is_stopped(
    unit_of_work: UnitOfWork, registry: RegisteringReleases, settings: TrainerSettings
) -> None:
    id_ = add(unit_of_work)
    hasty = settings.model_copy(update={"time_limit_seconds": 0.0001})
    Runs(unit_of_work, registry, hasty, threading.Lock()).work_off()
    run = show(unit_of_work, id_)
    assert run.status == "failed"
    assert "the limit" in (run.message or "")


@pytest.fixture
def trained(
    unit_of_work: UnitOfWork, registry: RegisteringReleases, settings: TrainerSettings
) -> TrainedBefore:
    return TrainedBefore(unit_of_work, registry, settings, threading.Lock())


@pytest.mark.parametrize(("figure", "champion"), [(0.85, "3"), (0.8, "1"), (0.7, "1")])
def test_only_a_better_release_is_promoted(
    trained: TrainedBefore,
    unit_of_work: UnitOfWork,
    registry: RegisteringReleases,
    monkeypatch: pytest.MonkeyPatch,
    figure: float,
    champion: str,
) -> None:
    monkeypatch.setattr(TrainedBefore, "figure", figure)
    id_ = add(unit_of_work)
    trained.work_off()
    run = show(unit_of_work, id_)
    assert (run.status, run.version) == ("finished", "3")
    assert f"{figure:.4f} against 0.8000" in (run.message or "")
    assert registry.champion() == champion
    assert ledger(unit_of_work) == ([("3", "trainer")] if champion == "3" else [])


def test_silent_registry_ends_the_run_with_the_reason(
    trained: TrainedBefore, unit_of_work: UnitOfWork, registry: RegisteringReleases
) -> None:
    registry.is_down = True
    id_ = add(unit_of_work)
    trained.work_off()
    run = show(unit_of_work, id_)
    assert run.status == "failed"
    assert "Trained, but not registered" in (run.message or "")


def test_abandoned_run_is_taken_up_again(trained: TrainedBefore, unit_of_work: UnitOfWork) -> None:
    id_ = add(unit_of_work, status="running", leased_until=now() - timedelta(seconds=1))
    trained.work_off()
    assert show(unit_of_work, id_).status == "finished"


def test_run_of_a_living_trainer_keeps_the_next_one_waiting(
    trained: TrainedBefore, unit_of_work: UnitOfWork
) -> None:
    living = add(unit_of_work, status="running", leased_until=now() + timedelta(minutes=1))
    waiting = add(unit_of_work)
    trained.work_off()
    assert show(unit_of_work, living).status == "running"
    assert show(unit_of_work, waiting).status == "queued"


def test_runs_are_worked_off_in_the_order_they_were_asked_for(
    trained: TrainedBefore, unit_of_work: UnitOfWork
) -> None:
    ids = [add(unit_of_work) for _ in range(3)]
    trained.work_off()
    assert [show(unit_of_work, id_).version for id_ in ids] == ["3", "4", "5"]


def test_starter_release_becomes_the_champion_once(
    unit_of_work: UnitOfWork, registry: RegisteringReleases, tmp_path: Path
) -> None:
    make_manifest("starter").write(tmp_path)
    registry.manifests.clear()
    registry.marked = None
    for _ in range(2):
        assert import_starter(cast(Releases, registry), unit_of_work, tmp_path) == "1"
    assert registry.champion() == "1"
    assert len(registry.manifests) == 1
    assert ledger(unit_of_work) == [("1", "starter")]
