"""Scores of the starter release for rows that it was not fitted on, kept in a folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from shared.inference.onnx_session import open_session
from shared.inference.preparation.text import TextInputs
from tests.bench.starter import STARTER
from trainer.candidates.calibration import logs
from trainer.candidates.folds import strata_of
from trainer.datasets.folder import Dataset
from trainer.pipeline.context import is_official
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

PARTS = ("validation", "weak_held", "test")
BATCH = 64
#: Images after which their scores are kept.
IMAGES = 40


@dataclass(frozen=True)
class Rows:
    """Log-probabilities of several models for the same rows.

    Attributes:
        inputs: Shape `(models, rows, classes)`.
        targets: Column numbers of the true categories, shape `(rows,)`.
        is_official: Mask of the rows with an official label, shape `(rows,)`.
    """

    inputs: Doubles
    targets: Integers
    is_official: NDArray[np.bool_]

    @property
    def strata(self) -> Integers:
        """Groups of which every fold gets its share."""
        return strata_of(self.targets, self.is_official)

    def take(self, places: Integers) -> "Rows":
        """Return some rows."""
        return Rows(self.inputs[:, places], self.targets[places], self.is_official[places])

    def models(self, *places: int) -> "Rows":
        """Return the rows with some of the models."""
        return replace(self, inputs=self.inputs[list(places)])


@dataclass(frozen=True)
class Scored:
    """Rows to tune on and rows that only report.

    Attributes:
        names: Names of the models, in the order of `Rows.inputs`.
        held: Rows to tune on; no model was fitted on them.
        test: Rows that only report.
    """

    names: tuple[str, ...]
    held: Rows
    test: Rows


def text_scores(data: Dataset, folder: Path) -> Scored:
    """Return the scores of the models that the text model pools, on officially labelled rows."""
    found = starter_texts(data, folder)
    names = tuple(f"model {number + 1}" for number in range(len(found["scores"]) - 1))
    held, test = (
        rows_of(data, data.part(part, text=True), found["scores"][:-1], found["rows"])
        for part in ("validation", "test")
    )
    return Scored(names, held, test)


def pair_scores(data: Dataset, folder: Path, weak: int | None = None) -> Scored:
    """Return the scores of the text and of the image model for rows that have both.

    Args:
        data: The dataset.
        folder: Folder of the kept scores.
        weak: Most weakly labelled rows to use; by default all.
    """
    both = [data.part(part, text=True, image=True) for part in PARTS]
    both[1] = both[1].iloc[:weak]
    texts, images = starter_texts(data, folder), _images(pd.concat(both), data.fingerprint, folder)
    rows = []
    for both_parts in (pd.concat(both[:2]), both[2]):
        text = rows_of(data, both_parts, texts["scores"][-1:], texts["rows"])
        image = rows_of(data, both_parts, images["scores"], images["rows"])
        rows.append(replace(text, inputs=np.concatenate([text.inputs, image.inputs])))
    return Scored(("text", "image"), *rows)


def rows_of(data: Dataset, part: pd.DataFrame, scores: Floats, index: Integers) -> Rows:
    """Return the scores of some rows.

    Args:
        data: The dataset.
        part: The rows.
        scores: Probabilities of more rows, shape `(models, rows, classes)`.
        index: Numbers of those rows.
    """
    places = pd.Series(np.arange(len(index)), index=index).loc[part.index].to_numpy()
    inputs = np.stack([logs(one[places]) for one in scores])
    return Rows(inputs, data.targets(part), is_official(part))


def starter_texts(data: Dataset, folder: Path) -> dict[str, NDArray[Any]]:
    """Return scores `(models + 1, rows, classes)`, the last of the pool, and the rows' numbers."""

    def computed() -> dict[str, NDArray[Any]]:
        rows = data.part(*PARTS, text=True)
        scores = _pooled_texts(rows, LoadedRelease.load(STARTER))
        return {"scores": scores, "rows": rows.index.to_numpy()}

    return _kept(folder / f"text-{data.fingerprint[:12]}.npz", computed)


def _images(rows: pd.DataFrame, fingerprint: str, folder: Path) -> dict[str, NDArray[Any]]:
    """Return scores `(1, rows, classes)` of rows, and their numbers.

    They take minutes, so an interrupted run continues.
    """
    release = LoadedRelease.load(STARTER)
    scores = []
    # The few officially labelled rows come first, and do not depend on the number of the others.
    order = np.argsort(rows["part"] == "weak_held", kind="stable")
    rows = rows.iloc[order]
    for start in range(0, len(rows), IMAGES):
        some = rows.iloc[start : start + IMAGES]
        path = folder / f"image-{fingerprint[:12]}-{start:05}-{len(some)}.npz"
        found = _kept(path, partial(_image_scores, release, some))
        scores.append(found["scores"])
    return {"scores": np.concatenate(scores)[None], "rows": rows.index.to_numpy()}


def _image_scores(release: LoadedRelease, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {"scores": release.score_images(rows)}


def _kept(path: Path, compute: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return what a file keeps, or compute and keep it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        found: dict[str, Any] = compute()
        np.savez(unfinished, **found)
        unfinished.rename(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def asked_for_all(model: onnx.ModelProto) -> list[str]:
    """Let the pool of a cascade answer every row, and return the models' log-probabilities too.

    Returns:
        Names of the outputs: one for each model, and last the probabilities of the pool.
    """
    _leave_branches(model.graph)
    thresholds = [node.input[1] for node in model.graph.node if node.op_type == "Less"]
    never = np.array(2.0, np.float32)
    for constant in model.graph.initializer:
        if constant.name in thresholds:
            constant.CopyFrom(onnx.numpy_helper.from_array(never, constant.name))
    names = [node.output[0] for node in model.graph.node if node.op_type == "LogSoftmax"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return [*names, "probabilities"]


def _leave_branches(graph: onnx.GraphProto) -> None:
    """Put the pool of a cascade in place of the branch that asks it only for unsure rows."""
    nodes = []
    for node in graph.node:
        if node.op_type == "If":
            (pool,) = (one.g for one in node.attribute if one.name == "then_branch")
            nodes += pool.node
            nodes.append(onnx.helper.make_node("Identity", [pool.output[0].name], node.output))
        else:
            nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)


def _pooled_texts(rows: pd.DataFrame, release: LoadedRelease) -> Floats:
    """Score texts by each pooled model, and last by the pool; `(models + 1, rows, classes)`."""
    part = release.manifest.text
    if part is None:
        raise ValueError("Expected a starter release with a text model. Received: one without")
    inputs, texts = TextInputs.load(STARTER / "text", part), prepared_texts(rows)
    model = onnx.load(STARTER / "text/model.onnx")
    outputs = asked_for_all(model)
    with TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "model.onnx")
        session = open_session(Path(folder) / "model.onnx", threads=1)
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.zeros((len(outputs), len(texts), len(release.manifest.categories)), np.float32)
    for start in range(0, len(texts), BATCH):
        chosen = order[start : start + BATCH]
        found[:, chosen] = session.run(outputs, inputs.of([texts[place] for place in chosen]))
    found[:-1] = np.exp(found[:-1])
    return found
