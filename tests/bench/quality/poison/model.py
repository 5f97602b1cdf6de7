"""Fits the n-gram candidate on a version of a dataset."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.categories import Category
from trainer.candidates.calibration import fit_temperature, softmax
from trainer.candidates.protocols import FitContext, Labels
from trainer.candidates.text.ngrams import TextNgrams
from trainer.datasets.folder import Dataset
from trainer.pipeline.text.stage import prepared_texts

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """An n-gram model that was fitted on a version."""

    folder: Path
    categories: tuple[Category, ...]
    temperature: float

    def scores(self, rows: pd.DataFrame) -> Floats:
        """Return calibrated probabilities, shape `(rows, categories)`."""
        logits = TextNgrams().predict(prepared_texts(rows), self.folder)
        return softmax(logits / np.float32(self.temperature))

    def answers(self, rows: pd.DataFrame) -> NDArray[np.int64]:
        """Return the most probable code of each row."""
        found: NDArray[np.int64] = self.codes[self.scores(rows).argmax(axis=1)]
        return found

    @property
    def codes(self) -> NDArray[np.int64]:
        """Codes in the order of the probabilities."""
        return np.array([category.code for category in self.categories])


def fitted(data: Dataset, folder: Path) -> Trained:
    """Fit the n-grams on a version, and calibrate them on its validation rows."""
    folder.mkdir()
    train, held = data.part("train", text=True), data.part("validation", text=True)
    weights = np.ones(len(train), np.float32)
    labels = Labels(data.targets(train), weights, len(data.categories.categories))
    context = FitContext(0, None, "int8", lambda _line: None, lambda *_done: None)
    candidate = TextNgrams()
    candidate.fit(prepared_texts(train), labels, folder, folder, context)
    logits = candidate.predict(prepared_texts(held), folder)
    temperature = fit_temperature(logits, data.targets(held))
    return Trained(folder, data.categories.categories, temperature)
