"""Training runs: one at a time, in a child process, with a clear end in every case."""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import ColumnElement, Select, or_, select, update

from shared.db.models import TrainingRun, now
from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases import Release
from shared.promotion import promote
from shared.settings import TrainerSettings

log = structlog.get_logger(__name__)

#: A trainer that died lets its run go after this long; a live one renews in time.
LEASE = timedelta(seconds=60)
RENEW_SECONDS = 5.0
#: Figure that decides; the rows with text and picture are what the service is for.
DECIDING_FIGURE = "fusion_f1_plain"


class Registry(Protocol):
    """What runs need of `shared.inference.releases.Releases`."""

    def champion(self) -> str | None:
        """Version that serves."""

    def manifest(self, version: str) -> ReleaseManifest:
        """What a version says of itself."""

    def show(self, version_or_alias: str) -> Release:
        """One version. Raises `NotFound`."""

    def register(self, folder: Path, *, description: str) -> str:
        """Register a release folder; returns the version."""

    def mark_champion(self, version: str) -> None:
        """Move the alias."""


class TrainingFailed(RayonError):
    """A run that ended without a release; the message says why."""

    title = "Training failed"


@dataclass(frozen=True)
class Runs:
    """Works off the training runs in the database.

    A message only says that there is something to do; so a lost one delays a run and no more.
    """

    unit_of_work: UnitOfWork
    registry: Registry
    settings: TrainerSettings
    lock: threading.Lock

    def work_off(self) -> None:
        """Run what is queued or was abandoned, oldest first, until nothing is left.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.lock:
            while (run_id := self._claim()) is not None:
                self._finish(run_id, *self._attempt(run_id))

    def _claim(self) -> str | None:
        with self.unit_of_work() as work:
            pending = or_(TrainingRun.status == "queued", _abandoned())
            query = select(TrainingRun).where(pending).order_by(TrainingRun.id).limit(1)
            run = work.session.scalar(query.with_for_update(skip_locked=True))
            if run is None or work.session.scalar(_alive()) is not None:
                return None
            run.status, run.started_at, run.leased_until = "running", now(), now() + LEASE
            return run.id

    def _attempt(self, run_id: str) -> tuple[str, str | None, str]:
        try:
            version, message = self._train(run_id)
        except Unavailable as error:
            return "failed", None, f"Trained, but not registered: {error.detail}"
        except RayonError as error:
            return "failed", None, error.detail
        except Exception as error:
            log.exception("training_crashed", run=run_id)
            return "failed", None, f"{type(error).__name__}: {error}"
        return "finished", version, message

    def _train(self, run_id: str) -> tuple[str, str]:
        if self.settings.data is None:
            raise TrainingFailed("No data to train on: RAYON_TRAINER_DATA names no folder")
        out = self.settings.work_folder / "runs" / run_id
        self._run_child(run_id, self.settings.data, out)
        version = self.registry.register(out, description=f"Training run {run_id}")
        return version, self._compare(run_id, version)

    def _run_child(self, run_id: str, data: Path, out: Path) -> None:
        work = self.settings.work_folder
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "trainer", "train", str(data)]
        command += ["--out", str(out), "--work", str(work)]
        if self.settings.weights is not None:
            command += ["--weights", str(self.settings.weights)]
        log_path = work / f"{run_id}.log"
        started = time.monotonic()
        with log_path.open("wb") as output:
            child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            try:
                while child.poll() is None:
                    self._renew(run_id)
                    if time.monotonic() - started > self.settings.time_limit_seconds:
                        raise TrainingFailed(
                            f"Stopped after {self.settings.time_limit_seconds:.0f} seconds, "
                            "the limit"
                        )
                    _wait(child)
            finally:
                child.kill()
                child.wait()
        if child.returncode != 0:
            last = log_path.read_text(errors="replace").strip().splitlines()[-1:]
            raise TrainingFailed(f"The training ended with {child.returncode}: {''.join(last)}")

    def _renew(self, run_id: str) -> None:
        try:
            with self.unit_of_work() as work:
                work.session.execute(
                    update(TrainingRun)
                    .where(TrainingRun.id == run_id)
                    .values(leased_until=now() + LEASE)
                )
        except Unavailable as error:
            # Training goes on; the next renewal may come through.
            log.warning("lease_not_renewed", run=run_id, error=str(error))

    def _compare(self, run_id: str, version: str) -> str:
        champion = self.registry.champion()
        new = self.registry.manifest(version).figures.get(DECIDING_FIGURE, 0.0)
        old = self.registry.manifest(champion).figures.get(DECIDING_FIGURE, 0.0) if champion else 0
        verdict = f"{DECIDING_FIGURE} {new:.4f} against {old:.4f} of release {champion}"
        if champion is not None and new <= old:
            return f"Not better, champion stays: {verdict}"
        promote(
            self.unit_of_work,
            self.registry,
            version,
            by="trainer",
            reason=f"Training run {run_id}: {verdict}",
        )
        return f"Promoted: {verdict}"

    def _finish(self, run_id: str, status: str, version: str | None, message: str) -> None:
        with self.unit_of_work() as work:
            work.session.execute(
                update(TrainingRun)
                .where(TrainingRun.id == run_id)
                .values(
                    status=status,
                    version=version,
                    message=message,
                    finished_at=now(),
                    leased_until=None,
                )
            )
        log.info("training_ended", run=run_id, status=status, version=version, message=message)


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(RENEW_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _abandoned() -> ColumnElement[bool]:
    return (TrainingRun.status == "running") & (TrainingRun.leased_until < now())


def _alive() -> Select[TrainingRun]:
    return select(TrainingRun).where(
        TrainingRun.status == "running", TrainingRun.leased_until >= now()
    )
