"""Training context: the settings, data and services that every stage of a run shares."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.candidates.onnx.graph import Storage
from trainer.candidates.protocols import Arithmetic, FinalRows, FitContext, Labels, Lineup
from trainer.datasets.class_balance import balanced_weights
from trainer.datasets.folder import Dataset
from trainer.pipeline.steps import Steps
from trainer.release.acceptance import Budget
from trainer.release.evaluation import Figures, figures_of, official_weights
from trainer.release.feature_upload import UploadTarget


@dataclass(frozen=True)
class TrainingSettings:
    """Choices of the person or service that starts a training run.

    Attributes:
        work: Folder of step results, features and other files worth keeping between runs.
        weights: Folder with ImageNet weights; `None` lets Keras download its own.
        champion: Folder of the serving release; its image network becomes a candidate too.
        storage: Number format of the weights in the release.
        weak_weight: Weight of a weakly labelled row; an officially labelled one counts 1.
        class_balance: Strength from which rare categories weigh more, 0 to below 1; 0 for none. See
            `trainer.datasets.class_balance`.
        budget: Latency limits of one product, for the choice of models and the acceptance test.
        upload_target: Storage where workers look image features up; `None` publishes none.
        progress: File that gets a JSON line for each step.
        lineup: `full` tries every candidate, `quick` those that take seconds, for a first release.
        is_offline: Test the package with this Python instead of an installed environment.
        arithmetic: Arithmetic of image networks to try first.
        candidates: Names of the candidates to try; all of the line-up if empty.
        answers: File of recent products without labels, see
            `trainer.pipeline.chosen.unlabelled_answers`.
        final_fit: Rows that the models that serve learn from once they are chosen, see
            `trainer.pipeline.chosen.final_fit`: held-out rows, and with `test` those too.
    """

    work: Path
    weights: Path | None = None
    champion: Path | None = None
    name: str = "rayon"
    seed: int = 0
    storage: Storage = "int8"
    weak_weight: float = 0.7
    class_balance: float = 0.0
    budget: Budget = field(default_factory=Budget)
    upload_target: UploadTarget | None = None
    progress: Path | None = None
    lineup: Lineup = "full"
    is_offline: bool = False
    arithmetic: Arithmetic = "float"
    candidates: tuple[str, ...] = ()
    answers: Path | None = None
    final_fit: FinalRows = "validation"

    def absolute(self) -> "TrainingSettings":
        """Return the settings with absolute paths: children run in folders of their own."""
        paths: dict[str, Any] = {
            name: value.absolute() for name, value in vars(self).items() if isinstance(value, Path)
        }
        return replace(self, **paths)


@dataclass(frozen=True)
class BalancedLabels(Labels):
    """Labels whose weights do not show any more which of them are official.

    Attributes:
        official: Mask of the rows with an official label, shape `(rows,)`.
    """

    official: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def is_official(self) -> NDArray[np.bool_]:
        """Mask of the rows with an official label, shape `(rows,)`."""
        return self.official

    def take(self, places: NDArray[np.int64]) -> "BalancedLabels":
        """Return the labels of some rows, with the weights that they have among all rows."""
        taken = super().take(places)
        return BalancedLabels(
            taken.targets, taken.weights, taken.classes, taken.soft, self.official[places]
        )


class RunLog(Protocol):
    """Log of a training run; see `trainer.pipeline.tracking`."""

    def log_line(self, line: str) -> None:
        """Write a line."""

    def curve(self, name: str, step: int, value: float) -> None:
        """Record a point of a curve."""


@dataclass(frozen=True)
class TrainingContext:
    """Everything that the stages of one training run share."""

    settings: TrainingSettings
    data: Dataset
    steps: Steps
    log: RunLog

    @cached_property
    def fit(self) -> FitContext:
        """The part of the context that candidates may use."""
        settings = self.settings
        return FitContext(
            settings.seed,
            settings.weights,
            settings.storage,
            self.log.log_line,
            self.log.curve,
            settings.arithmetic,
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the dataset."""
        return self.data.fingerprint

    @property
    def log_line(self) -> Callable[[str], None]:
        """Writer of log lines."""
        return self.log.log_line

    @property
    def features(self) -> Path:
        """Folder of the image features, one folder below it for each backbone."""
        return self.settings.work / "features"

    @property
    def key(self) -> dict[str, Any]:
        """Parameters that decide every fit of this run."""
        key = {
            "data": self.fingerprint,
            "seed": self.settings.seed,
            "weak_weight": self.settings.weak_weight,
            "storage": self.settings.storage,
        }
        # Without balance the key stays as it was, so that kept steps are found.
        balance = self.settings.class_balance
        return key | {"class_balance": balance} if balance else key

    def labels(self, rows: pd.DataFrame) -> Labels:
        """Return the true categories of rows; weak labels count less, and rare ones may count more.

        Raises:
            InvalidInput: The strength of the balance is no share below 1.
        """
        targets, official = self.data.targets(rows), is_official(rows)
        weights = np.where(official, 1.0, self.settings.weak_weight).astype(np.float32)
        classes, strength = len(self.data.categories), self.settings.class_balance
        balanced = balanced_weights(targets, weights, classes, strength)
        if strength == 0:
            return Labels(targets, balanced, classes)
        return BalancedLabels(targets, balanced, classes, official=official)

    def figures(self, rows: pd.DataFrame, probabilities: pd.DataFrame) -> Figures:
        """Measure the probabilities of rows."""
        weights = official_weights(rows["code"].to_numpy(), self.data.official_share)
        found = probabilities.loc[rows.index].to_numpy(np.float32)
        return figures_of(found, self.data.targets(rows), weights)


def is_official(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return a mask of the rows with an official label, shape `(rows,)`."""
    official: NDArray[np.bool_] = (~rows["part"].isin(["weak", "weak_held"])).to_numpy()
    return official
