"""The precision dial on the made-up shop without a system: n-grams, a temperature, thresholds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gateway.quality.precision.selection import Bin, threshold_of
from shared.inference.releases.confidence import Calibration, LabelledRows, calibrated
from tests.bench.quality.taxonomy.balance import context_of
from tests.bench.quality.taxonomy.figures import shop_weights
from tests.bench.quality.taxonomy.shop import Leaf, Shop, truth_of
from tests.bench.quality.taxonomy.story import Accepted, Rows
from trainer.candidates.calibration import fit_temperature, softmax
from trainer.candidates.folds import out_of_fold
from trainer.candidates.text.ngrams import TextNgrams
from trainer.datasets.split import hashed_parts
from trainer.pipeline.text.stage import prepared_texts

Floats = NDArray[np.float64]
#: Digits of a confidence in an answer.
DIGITS = 4


@dataclass(frozen=True)
class Answered:
    """New products of the shop, their answers, and what held-out products state about these.

    Attributes:
        confidence: Shape `(rows,)`.
        is_right: Shape `(rows,)`.
        weights: Products of the shop that each row stands for, shape `(rows,)`.
        stated: Calibration by held-out products of the first dataset.
    """

    confidence: Floats
    is_right: NDArray[np.bool_]
    weights: Floats
    stated: Calibration

    @classmethod
    def of(cls, shop: Shop, seed: int) -> "Answered":
        """Fit n-grams on the first dataset of a shop and answer its other products."""
        rows = Rows.of(shop, seed)
        parts = hashed_parts(rows.first.assign(image_name=""))
        held = rows.first[parts == "validation"]
        logits = _logits(rows.first[parts == "train"], (held, rows.tested), rows.known)
        columns = {leaf.code: column for column, leaf in enumerate(rows.known)}
        targets = np.array([columns[code] for code in held["code"]])
        divisor = fit_temperature(logits[0], targets)
        crossed = out_of_fold(
            targets,
            lambda fit_on, others: softmax(
                logits[0][others] / fit_temperature(logits[0][fit_on], targets[fit_on])
            ).astype(np.float32),
            seed,
        )[0]
        labelled = (
            LabelledRows(float(confidence), 1, int(right))
            for confidence, right in zip(
                *_answers(crossed.astype(np.float64), targets), strict=True
            )
        )
        tested = np.array([columns[code] for code in rows.tested["code"]])
        confidence, is_right = _answers(softmax(logits[1] / divisor), tested)
        weights = shop_weights(truth_of(rows.tested), rows.known)
        return cls(confidence, is_right, weights, calibrated(labelled))

    def accepted(self, target: float, calibration: Calibration) -> Accepted:
        """Return what the precision dial accepts, and the share of it that is right."""
        bins = [
            Bin(0, float(one), int(count))
            for one, count in zip(*np.unique(self.confidence, return_counts=True), strict=True)
        ]
        threshold = threshold_of(bins, target, calibration)
        if threshold is None:
            return Accepted(0.0, 0.0)
        taken = self.confidence >= threshold
        right = np.average(self.is_right[taken], weights=self.weights[taken])
        return Accepted(float(self.weights[taken].sum() / self.weights.sum()), float(right))


def _logits(
    train: pd.DataFrame, others: Sequence[pd.DataFrame], leaves: Sequence[Leaf]
) -> list[Floats]:
    """Return the logits of products by n-grams that others fitted, shape `(rows, classes)`."""
    candidate = TextNgrams()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = context_of(train, leaves, folder)
        labels = context.labels(context.data.rows)
        candidate.fit(prepared_texts(train), labels, folder, folder, context.fit)
        return [
            candidate.predict(prepared_texts(rows), folder).astype(np.float64) for rows in others
        ]


def _answers(probabilities: Floats, targets: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    confidence: Floats = probabilities.max(axis=1).round(DIGITS)
    return confidence, probabilities.argmax(axis=1) == targets
