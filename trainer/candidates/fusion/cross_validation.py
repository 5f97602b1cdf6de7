"""Evidence for fusions from both modalities' models, and its cross-validation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.candidates.calibration import logs
from trainer.candidates.folds import out_of_fold, strata_of
from trainer.candidates.fusion.pools import Evidence, FusionCandidate, combined

Floats = NDArray[np.float32]


def evidence_of(
    texts: Sequence[pd.DataFrame],
    image: pd.DataFrame,
    image_features: NDArray[np.float16],
    targets: NDArray[np.int64],
    is_official: NDArray[np.bool_],
) -> Evidence:
    """Return the evidence of some products.

    Args:
        texts: Probabilities of each text model, the one that serves first.
        image: Probabilities of the image model, with the same rows.
        image_features: Shape `(rows, image features)`.
        targets: Column numbers of the true categories, shape `(rows,)`.
        is_official: Mask of the rows with an official label, shape `(rows,)`.
    """
    text_features = np.concatenate([logs(one.to_numpy()) for one in texts], axis=1)
    return Evidence(
        text=texts[0].to_numpy(np.float32),
        image=image.to_numpy(np.float32),
        text_features=text_features.astype(np.float32),
        image_features=image_features.astype(np.float32),
        targets=targets,
        is_official=is_official,
    )


def cross_validated(candidate: FusionCandidate, evidence: Evidence, seed: int) -> Floats:
    """Return probabilities of every row by fits without it, shape `(repeats, rows, classes)`.

    Whatever the candidate tunes, also by a cross-validation of its own, it tunes on the other rows.
    """

    def score(fit_on: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        model = candidate.fit(evidence.take(fit_on), seed)
        return combined(model, evidence.take(others))

    return out_of_fold(strata_of(evidence.targets, evidence.is_official), score, seed)
