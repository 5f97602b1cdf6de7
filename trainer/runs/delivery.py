"""What happens to a trained release: registered once, then promoted, waiting, or left."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.releases.access import Registry
from shared.lifecycle.promotion import promote
from trainer.release.paired_bootstrap import Outcome
from trainer.runs.leases import Claim
from trainer.settings import TrainerSettings

Found = TypeVar("Found")

#: What the training leaves beside the release.
RESULT_FILE = "result.json"


class TrainingFailed(RayonError):
    """A run that ended without a decision; the message says why."""

    title = "Training failed"


class Trained(BaseModel):
    """What a training says of its release: `result.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["ready", "rejected"]
    reason: str | None = None
    #: MLflow run that holds the training's curves, if there is one.
    mlflow_run: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "Trained | None":
        """Read it, or `None` where the training has not come to its end.

        Raises:
            TrainingFailed: There is a file, and it says something else.
        """
        path = folder / RESULT_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise TrainingFailed(f"{path} is not the result of a training: {error}") from error

    @property
    def rejected(self) -> str | None:
        """Why the release may never serve."""
        return None if self.status == "ready" else self.reason or "for no stated reason"


@dataclass(frozen=True)
class Delivery:
    """Brings a release to the registry, patiently, and to the champion's place."""

    unit_of_work: UnitOfWork
    registry: Registry
    settings: TrainerSettings

    def patiently(self, act: Callable[[], Found], pause: Callable[[float], None]) -> Found:
        """Ask a registry that is down again and again. Raises `Unavailable` at last."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_delay(self.settings.registry_patience_seconds),
            wait=wait_exponential(multiplier=0.5, max=30),
            sleep=pause,
            reraise=True,
        )
        return retrying(act)

    def register(self, claim: Claim, folder: Path, trained: Trained) -> str:
        """Register a run's release, unless an earlier attempt did; returns the version."""
        description = f"Training run {claim.run_id}"
        for release in self.registry.versions():
            if release.description == description:
                return release.version
        return self.registry.register(
            folder, description=description, rejected=trained.rejected, run_id=trained.mlflow_run
        )

    def decide(self, claim: Claim, version: str, verdict: dict[str, Any] | None) -> str:
        """Promote, let wait, or leave; returns what was done, for a person.

        Args:
            claim: The run.
            version: Its release.
            verdict: Figures and `sentence` of the comparison; `None` if nothing serves yet.

        Raises:
            Unavailable: The registry or the database does not answer.
        """
        said = verdict["sentence"] if verdict else "No release serves yet"
        outcome = Outcome(verdict["outcome"]) if verdict else Outcome.BETTER
        if self.registry.champion() == version:
            # By a person meanwhile, or by an attempt that was stopped right afterwards.
            return f"Promoted. {said}"
        if outcome is Outcome.NOT_BETTER:
            return f"The champion stays. {said}"
        if outcome is Outcome.BETTER and self.settings.promotion == "automatic":
            reason = f"Training run {claim.run_id}. {said}"
            promote(self.unit_of_work, self.registry, version, by="trainer", reason=reason)
            return f"Promoted. {said}"
        self.registry.mark_challenger(version)
        return f"Waits for an admin: POST /v1/releases/{version}/promote. {said}"
