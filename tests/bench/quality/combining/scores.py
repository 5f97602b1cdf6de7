"""Scores of the starter release for rows that it was not fitted on, kept in a file."""

from dataclasses import dataclass, replace
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
from trainer.pipeline.text_stage import prepared_texts
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

BATCH = 64


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


def text_scores(data: Dataset, kept: Path) -> Scored:
    """Return the scores of the models that the text model pools, on officially labelled rows."""
    found = _kept(data, kept)
    held, test = (data.part(part, text=True) for part in ("validation", "test"))
    names = tuple(f"model {number + 1}" for number in range(found["texts"].shape[0]))
    return Scored(
        names, *(_rows(data, part, found["texts"], found["text_rows"]) for part in (held, test))
    )


def pair_scores(data: Dataset, kept: Path) -> Scored:
    """Return the scores of the text and of the image model for rows that have both."""
    found = _kept(data, kept)
    places = pd.Series(np.arange(len(found["image_rows"])), index=found["image_rows"])
    both = [
        data.part(*parts, text=True, image=True)
        for parts in (("validation", "weak_held"), ("test",))
    ]
    rows = []
    for part in both:
        text = _rows(data, part, found["text"][None], found["text_rows"])
        image = found["image"][places.loc[part.index].to_numpy()]
        rows.append(replace(text, inputs=np.concatenate([text.inputs, logs(image)[None]])))
    return Scored(("text", "image"), *rows)


def _rows(data: Dataset, part: pd.DataFrame, scores: Floats, index: Integers) -> Rows:
    places = pd.Series(np.arange(len(index)), index=index).loc[part.index].to_numpy()
    inputs = np.stack([logs(one[places]) for one in scores])
    return Rows(inputs, data.targets(part), is_official(part))


def _kept(data: Dataset, kept: Path) -> dict[str, NDArray[Any]]:
    """Read the scores of this data, or compute them, which takes minutes."""
    if kept.exists():
        with np.load(kept) as file:
            if str(file["fingerprint"]) == data.fingerprint:
                return {name: file[name] for name in file.files}
    parts = ("validation", "weak_held", "test")
    texts, images = (data.part(*parts, **{kind: True}) for kind in ("text", "image"))
    release = LoadedRelease.load(STARTER)
    pooled = _pooled_texts(texts, release)
    found = {
        "fingerprint": np.array(data.fingerprint),
        "text_rows": texts.index.to_numpy(),
        "texts": pooled[:-1],
        "text": pooled[-1],
        "image_rows": images.index.to_numpy(),
        "image": release.score_images(images),
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, **found)
    return found


def _pooled_texts(rows: pd.DataFrame, release: LoadedRelease) -> Floats:
    """Score texts by each pooled model, and last by the pool; `(models + 1, rows, classes)`."""
    part = release.manifest.text
    if part is None:
        raise ValueError("Expected a starter release with a text model. Received: one without")
    inputs, texts = TextInputs.load(STARTER / "text", part), prepared_texts(rows)
    model = onnx.load(STARTER / "text/model.onnx")
    names = [node.output[0] for node in model.graph.node if node.op_type == "LogSoftmax"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    with TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "model.onnx")
        session = open_session(Path(folder) / "model.onnx", threads=1)
    outputs = [*names, "probabilities"]
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.zeros((len(outputs), len(texts), len(release.manifest.categories)), np.float32)
    for start in range(0, len(texts), BATCH):
        chosen = order[start : start + BATCH]
        found[:, chosen] = session.run(outputs, inputs.of([texts[place] for place in chosen]))
    found[:-1] = np.exp(found[:-1])
    return found
