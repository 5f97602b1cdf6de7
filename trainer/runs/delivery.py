"""Registers a trained release once, then promotes it, leaves it to an admin or drops it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from shared.db.session import UnitOfWork
from shared.errors import RayonError, Unavailable
from shared.inference.releases.access import Registry
from shared.lifecycle.alerts import has_changed
from shared.lifecycle.promotion import promote
from trainer.release.paired_bootstrap import Outcome, Rule
from trainer.runs.leases import Claim
from trainer.runs.routine import is_routine, surest_gain
from trainer.settings import TrainerSettings

Result = TypeVar("Result")

#: Description of the release that ships with Rayon.
STARTER = "Starter release"
#: File that the training writes beside the release.
RESULT_FILE = "result.json"


class TrainingFailed(RayonError):
    """A run ended without a decision; the message gives the reason."""

    title = "Training failed"


class Trained(BaseModel):
    """Result of a training, read from `result.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: `skipped`: there is no release, for the champion knows every category.
    status: Literal["ready", "rejected", "skipped"]
    reason: str | None = None
    #: Folder of the release; one that does not pass its test lies beside the wanted one.
    folder: Path | None = None
    #: MLflow run with the training's curves, if there is one.
    mlflow_run: str | None = None
    #: Rows that it learnt from, by the user who labelled them; see `trainer.datasets.findings`.
    labels: list[dict[str, Any]] = []

    @classmethod
    def read(cls, folder: Path) -> "Trained | None":
        """Read the result; `None` if the training has not finished.

        Raises:
            TrainingFailed: The file exists but is not a valid result.
        """
        path = folder / RESULT_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise TrainingFailed(
                f"Expected the result of a training in {path}. Received: {error}"
            ) from error

    @property
    def rejected(self) -> str | None:
        """Reason why the release may never serve; `None` if it may."""
        return None if self.status != "rejected" else self.reason or "no reason recorded"


@dataclass(frozen=True)
class Delivery:
    """Registers and promotes a release, with retries while the registry is down."""

    unit_of_work: UnitOfWork
    registry: Registry
    settings: TrainerSettings

    def retry(self, act: Callable[[], Result], pause: Callable[[float], None]) -> Result:
        """Retry an action while the registry is down. Raises `Unavailable` after the time limit."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_delay(self.settings.registry_patience_seconds),
            wait=wait_exponential(multiplier=0.5, max=30),
            sleep=pause,
            reraise=True,
        )
        return retrying(act)

    def register(self, claim: Claim, folder: Path, trained: Trained, suffix: str = "") -> str:
        """Register a run's release unless an earlier attempt did, and return its version."""
        description = f"Training run {claim.run_id}{suffix}"
        for release in self.registry.versions():
            if release.description == description:
                return release.version
        return self.registry.register(
            folder, description=description, rejected=trained.rejected, run_id=trained.mlflow_run
        )

    def rule(self) -> Rule:
        """Return the rule of a comparison: after a change, less confidence is enough."""
        settings = self.settings
        rule = Rule(settings.promotion_margin, settings.promotion_confidence)
        with self.unit_of_work.reading() as session:
            if not has_changed(session):
                return rule
        return replace(
            rule,
            confidence=min(rule.confidence, settings.promotion_confidence_after_change),
            probability=settings.promotion_probability_after_change,
        )

    def decide(self, claim: Claim, version: str, verdict: dict[str, Any] | None) -> str:
        """Promote the release, leave it to an admin or drop it; return the outcome for a person.

        Args:
            claim: The run.
            version: Its release.
            verdict: Figures and `sentence` of the comparison; `None` if there is no champion.

        Raises:
            Unavailable: The registry or the database does not answer.
        """
        sentence = verdict["sentence"] if verdict else "There was no champion"
        outcome = Outcome(verdict["outcome"]) if verdict else Outcome.BETTER
        if self.registry.champion() == version:
            # An admin did so meanwhile, or an earlier attempt that was stopped right afterwards.
            return f"Promoted. {sentence}"
        if outcome is Outcome.NOT_BETTER:
            return f"The champion stays. {sentence}"
        reserve = self._reserve(claim, outcome, verdict)
        if not reserve and self._promotes(outcome, verdict):
            reason = f"Training run {claim.run_id}. {sentence}"
            promote(self.unit_of_work, self.registry, version, by="trainer", reason=reason)
            return f"Promoted. {sentence}"
        self.registry.mark_challenger(version)
        return f"Waiting for an admin: POST /v1/releases/{version}/promote. {reserve}{sentence}"

    def _promotes(self, outcome: Outcome, verdict: dict[str, Any] | None) -> bool:
        """Return True if the release is promoted without a person.

        Other categories change the answers of every client, so they wait for a person: not those
        of the starter release, which no shop has chosen.
        """
        if self.settings.promotion != "automatic":
            return False
        loses = bool(verdict and verdict.get("lost_categories"))
        if outcome is Outcome.NOT_COMPARABLE or (outcome is Outcome.BETTER and loses):
            is_allowed = self.settings.promotion_of_other_categories == "automatic"
            return is_allowed or self._starter_serves()
        return outcome is Outcome.BETTER

    def _reserve(self, claim: Claim, outcome: Outcome, verdict: dict[str, Any] | None) -> str:
        """Explain why a better release is not worth a promotion by itself; empty if it is."""
        least = self.settings.promotion_routine_gain
        if (
            self.settings.promotion != "automatic"
            or outcome is not Outcome.BETTER
            or verdict is None
            or (gain := surest_gain(verdict)) >= least
            or self._starter_serves()
        ):
            return ""
        with self.unit_of_work.reading() as session:
            if not is_routine(session, claim.run_id, verdict):
                return ""
        return (
            "Nothing has changed, so clients' answers change by themselves only for a sure gain of "
            f"{least:.4f} (RAYON_TRAINER_PROMOTION_ROUTINE_GAIN). Sure of this release: "
            f"{gain:.4f}. "
        )

    def _starter_serves(self) -> bool:
        champion = self.registry.champion()
        return champion is None or self.registry.show(champion).description == STARTER
