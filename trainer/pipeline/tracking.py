"""Record of a training run: in a folder, and in MLflow if there is one.

Everything is written into the folder first and sent to MLflow at the end, so an outage of MLflow
does not stop a run.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import structlog
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Floats = NDArray[np.float32]

log = structlog.get_logger(__name__)

EXPERIMENT = "rayon"
#: Time limit of retries of MLflow at the end of a run, in seconds.
PATIENCE_SECONDS = 60.0
#: Most parameters or metrics that MLflow accepts in one call.
CHUNK = 100
#: Number of bins in the reliability diagram.
BINS = 15


class Tracking:
    """Record of one training run.

    Args:
        folder: Folder of `log.txt`, plots and tables.
        mlflow_url: Address of MLflow; `None` keeps the run in the folder only.
        echo: True to print the log lines too.
    """

    def __init__(self, folder: Path, mlflow_url: str | None = None, *, echo: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._echo = echo
        self._parameters: dict[str, str] = {}
        self._curves: list[tuple[str, int, float]] = []
        self._figures: dict[str, float] = {}
        self._files: list[Path] = []
        self._log = folder / "log.txt"
        self._log.write_text("", "utf-8")
        self._client = MlflowClient(mlflow_url) if mlflow_url else None
        self.run_id: str | None = None
        if self._client is not None:
            # Created now so that the run is visible while it lasts; if MLflow is down, at the end.
            with suppress(MlflowException):
                self.run_id = _create_run(self._client)
        self.log_line(
            f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores"
        )
        self.log_line(", ".join(f"{name} {version}" for name, version in _packages().items()))

    def log_line(self, line: str) -> None:
        """Write a line into `log.txt`."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")
        if self._echo:
            print(line, flush=True)  # noqa: T201 - the log of a command

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record parameters, nested ones under a dotted name."""
        flat = _flat(values)
        self._parameters |= flat
        for name, value in flat.items():
            self.log_line(f"  {name} = {value}")

    def curve(self, name: str, step: int, value: float) -> None:
        """Record a point of a curve, such as the loss of an epoch."""
        self._curves.append((name, step, value))

    def figures(self, values: Mapping[str, float]) -> None:
        """Record final figures."""
        self._figures |= values

    def file(self, path: Path) -> None:
        """Attach a file to the run."""
        self._files.append(path)

    def predictions(
        self, name: str, probabilities: Floats, targets: NDArray[np.int64], classes: list[str]
    ) -> None:
        """Draw the confusion matrix and the reliability diagram, and write F1 by category.

        Args:
            name: Name of the model.
            probabilities: Shape `(rows, classes)`.
            targets: Column numbers, shape `(rows,)`.
            classes: Names of the columns.
        """
        predicted = probabilities.argmax(axis=1)
        columns = list(range(len(classes)))
        report = classification_report(
            targets, predicted, labels=columns, target_names=classes, zero_division=0
        )
        path = self._folder / f"{name}_by_category.txt"
        path.write_text(str(report), "utf-8")
        self._files.append(path)
        self._files.append(
            _draw_confusion(self._folder / f"{name}_confusion.svg", targets, predicted, classes)
        )
        self._files.append(
            _draw_reliability(self._folder / f"{name}_reliability.svg", probabilities, targets)
        )

    def finish(self, *, failed: bool = False) -> str | None:
        """Send everything to MLflow; return an error sentence if that fails."""
        (self._folder / "curves.json").write_text(json.dumps(self._curves), "utf-8")
        if self._client is None:
            return None
        retry = Retrying(
            retry=retry_if_exception_type(MlflowException),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=wait_exponential(0.5, max=10),
        )
        try:
            retry(self._send, self._client, failed)
        except RetryError as error:
            reason = error.last_attempt.exception()
            sentence = f"MLflow did not accept the run; it is kept in {self._folder}: {reason}"
            log.warning("run_tracking_failed", folder=str(self._folder), error=str(reason))
            return sentence
        return None

    def _send(self, client: MlflowClient, failed: bool) -> None:
        if self.run_id is None:
            self.run_id = _create_run(client)
        now = int(datetime.now(UTC).timestamp() * 1000)
        parameters = [Param(name, value[:500]) for name, value in self._parameters.items()]
        points = [Metric(name, value, now, step) for name, step, value in self._curves]
        points += [Metric(name, value, now, 0) for name, value in self._figures.items()]
        for start in range(0, len(parameters), CHUNK):
            client.log_batch(self.run_id, params=parameters[start : start + CHUNK])
        for start in range(0, len(points), CHUNK):
            client.log_batch(self.run_id, metrics=points[start : start + CHUNK])
        for path in (self._log, *self._files):
            if path.exists():
                client.log_artifact(self.run_id, str(path))
        client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")


def _create_run(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    return str(client.create_run(experiment).info.run_id)


def _packages() -> dict[str, str]:
    found = {}
    for name in ("tensorflow-cpu", "tensorflow", "keras", "onnxruntime", "scikit-learn", "numpy"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _draw_confusion(
    path: Path, targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: list[str]
) -> Path:
    matrix = confusion_matrix(
        targets, predicted, labels=list(range(len(classes))), normalize="true"
    )
    figure, axes = plt.subplots(figsize=(9, 8))
    shown = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(shown, label="share of the true category")
    return _saved(figure, path)


def _draw_reliability(path: Path, probabilities: Floats, targets: NDArray[np.int64]) -> Path:
    """Draw accuracy by confidence (DeGroot and Fienberg 1983) above the number of rows."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    present = np.unique(bins)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6, 7), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    above.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    above.plot(
        [confidence[bins == one].mean() for one in present],
        [is_right[bins == one].mean() for one in present],
        marker="o",
        label="measured",
    )
    above.set_ylabel("accuracy")
    above.legend()
    below.hist(confidence, bins=np.linspace(0, 1, BINS + 1))
    below.set_xlabel("confidence")
    below.set_ylabel("rows")
    return _saved(figure, path)


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path
