"""Delivers a release that was trained by hand: registers it, compares it with the champion.

The gate is that of training runs (`trainer.runs.delivery`), and the delivery is recorded as one: it
is listed in `/v1/training-runs` with its verdict.
"""

import getpass
import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select

from shared.broker import Broker
from shared.db.models import TrainingRun, TrainingStatus
from shared.db.session import UnitOfWork, open_engine
from shared.errors import InvalidInput, RayonError
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.registry import Releases
from shared.settings import BrokerSettings, DatabaseSettings, ReleaseSettings
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.release.comparison import contest
from trainer.release.loaded import release_digest
from trainer.runs.delivery import RESULT_FILE, Delivery, Trained
from trainer.runs.leases import Claim
from trainer.settings import TrainerSettings

PROJECT = Path(__file__).resolve().parent.parent
#: Exit code if the release is registered, and the champion stays.
NOT_BETTER = 3


class NotDeliverable(RayonError):
    """A release is not delivered; the message gives the reason."""

    title = "Not delivered"


class _Source(BaseModel):
    """The part of `result.json` that ties a release to its data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: dict[str, str] = {}
    figures: dict[str, float] = {}


def deliver(folder: Path, data: Path | None, *, promotes: bool, say: Callable[[str], None]) -> int:
    """Deliver a release folder to the running system, and return the exit code.

    Args:
        folder: The release, with the `result.json` of its training beside it.
        data: Dataset folder of the training; by default the recorded one.
        promotes: Promote the release if it is better, instead of leaving it to an admin.
        say: Called with lines for a person.

    Returns:
        0 if it was promoted or waits for an admin, 3 if the champion stays.

    Raises:
        NotDeliverable: The release does not pass its test, or is not that of `result.json`.
        InvalidInput: The folder is not a release, or the data cannot be loaded.
        Unavailable: The registry or the database does not answer.
    """
    complete_environment(os.environ)
    # The registry's client prints addresses and waits, which a person here has no use for.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    settings = TrainerSettings().model_copy(
        update={"promotion": "automatic" if promotes else "manual"}
    )
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), Broker(BrokerSettings()))
    delivery = Delivery(unit_of_work, Releases(ReleaseSettings()), settings)
    return ByHand(delivery, say).deliver(folder, data)


@dataclass(frozen=True)
class ByHand:
    """Delivers releases that were trained by hand."""

    delivery: Delivery
    say: Callable[[str], None]

    def deliver(self, folder: Path, data: Path | None) -> int:
        """Deliver a release; see `deliver`."""
        trained, source = read_result(folder)
        # Asked first, because reading the data may take minutes.
        champion = self.delivery.registry.champion()
        dataset = self._data(source, data)
        run = self._recorded(folder)
        version = run.version
        if version is None:
            version = self.delivery.register(_claim(run), folder, trained)
            self.say(f"registered as release {version}")
            self._change(run, version=version, labels=trained.labels)
        else:
            self.say(f"registered before as release {version}")
        verdict = run.verdict
        if verdict is None or verdict["champion"] not in (champion, version):
            verdict = self._contest(champion, version, dataset)
            self._change(run, verdict=verdict)
        outcome = self.delivery.decide(_claim(run), version, verdict)
        self._change(run, message=outcome)
        self.say(outcome)
        return self._exit_code(version)

    def _contest(self, champion: str | None, version: str, data: Dataset) -> dict[str, Any] | None:
        if champion is None or champion == version:
            return None
        settings, registry = self.delivery.settings, self.delivery.registry
        self.say(f"comparing it with release {champion}, which serves, on the test rows")
        found = contest(
            registry.folder(champion),
            registry.folder(version),
            data,
            self.delivery.rule(),
            kept=settings.work_folder / "answers",
            tolerance=settings.promotion_tolerance,
        )
        return {**found, "champion": champion}

    def _exit_code(self, version: str) -> int:
        release = self.delivery.registry.show(version)
        if "champion" in release.aliases:
            self.say("Workers load it now; new jobs get it within about ten seconds")
            return 0
        if "challenger" in release.aliases:
            self.say(f'To serve it: rayon promote {version} --reason "…"')
            return 0
        return NOT_BETTER

    def _data(self, source: _Source, data: Path | None) -> Dataset:
        recorded = source.dataset.get("folder")
        if data is None and recorded is None:
            raise NotDeliverable("Expected --data with the dataset of the training. Received: none")
        found = load(data or Path(recorded or ""))
        expected = source.dataset.get("fingerprint")
        if expected is not None and found.fingerprint != expected:
            raise NotDeliverable(
                f"Expected the data of the training, {expected[:12]}. Received: "
                f"{data or recorded} with {found.fingerprint[:12]}. Train again if it has changed"
            )
        return found

    def _recorded(self, folder: Path) -> TrainingRun:
        """Return the run of a release that was delivered before, or record a new one."""
        reason = f"Trained by hand: {release_digest(folder)[:12]}"
        trained_at = datetime.fromtimestamp((folder.parent / RESULT_FILE).stat().st_mtime, UTC)
        with self.delivery.unit_of_work() as work:
            known = select(TrainingRun).where(TrainingRun.reason == reason)
            run = work.session.scalar(known.order_by(TrainingRun.id.desc()).limit(1))
            if run is None:
                run = TrainingRun(
                    requested_by=f"{getpass.getuser()}@{platform.node()}"[:64],
                    reason=reason,
                    status=TrainingStatus.FINISHED.value,
                    finished_at=trained_at,
                )
                work.session.add(run)
                work.session.flush()
            work.session.refresh(run)
            work.session.expunge(run)
        return run

    def _change(self, run: TrainingRun, **values: Any) -> None:
        with self.delivery.unit_of_work() as work:
            row = work.session.get_one(TrainingRun, run.id)
            for name, value in values.items():
                setattr(row, name, value)


def read_result(folder: Path) -> tuple[Trained, _Source]:
    """Return what the training recorded beside a release.

    Raises:
        NotDeliverable: There is no record, it is that of another release, or the release does not
            pass its test.
        InvalidInput: The folder is not a release.
    """
    manifest = ReleaseManifest.read(folder)
    trained = Trained.read(folder.parent)
    if trained is None:
        raise NotDeliverable(
            f"Expected {RESULT_FILE} of the training in {folder.parent}. Received: no such file"
        )
    try:
        source = _Source.model_validate_json((folder.parent / RESULT_FILE).read_bytes())
    except ValidationError as error:
        raise InvalidInput(f"Expected the result of a training. Received: {error}") from error
    if source.figures != manifest.figures:
        raise NotDeliverable(f"{folder} is not the release of the {RESULT_FILE} beside it")
    if trained.rejected is not None:
        raise NotDeliverable(f"The release does not pass its test: {trained.rejected}")
    return trained, source


def complete_environment(environment: "os._Environ[str] | dict[str, str]") -> None:
    """Complete variables by those of the system that `make run` starts on this machine.

    Variables that are set, in the shell or in `.env`, take precedence.
    """
    dotenv = dotenv_values(Path(environment.get("RAYON_DOTENV", PROJECT / ".env")))
    for name, value in {**_embedded({**dotenv, **environment}), **dotenv}.items():
        if value is not None and f"{name}_FILE" not in environment:
            environment.setdefault(name, value)


def _embedded(environment: Mapping[str, str | None]) -> dict[str, str]:
    home = Path(environment.get("RAYON_HOME") or PROJECT / "var")
    port = environment.get("RAYON_MLFLOW_PORT") or "5001"
    found = {
        "RAYON_DATABASE_URL": f"sqlite:///{home / 'rayon.db'}",
        "RAYON_RELEASES_CACHE": str(home / "releases"),
        "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{port}",
        "RAYON_TRAINER_WORK_FOLDER": str(home / "training"),
    }
    token = home / "secrets" / "registry_token"
    if token.is_file():
        found["RAYON_RELEASES_TOKEN"] = token.read_text().rstrip("\r\n")
    return found


def _claim(run: TrainingRun) -> Claim:
    return Claim(run.id, 1, run.dataset, run.version, run.verdict)
