"""Held-out answers of a release with their true categories, by the kind of answer."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.inference.releases.fusion_model import FusionModel
from trainer.monitoring.performance.shift import Known
from trainer.reference.sample import Sample

Floats = NDArray[np.floating]


def combined(text: Floats, image: Floats, fusion: FusionModel | None) -> Floats:
    """Return the answers as `worker_fusion.combine` forms them, shape `(rows, classes)`.

    Args:
        text: Probabilities of the same shape; NaN where a product has none.
        image: The same.
        fusion: Fusion model of the release, if it has two modalities.
    """
    has_text, has_image = (np.isfinite(scores[:, 0]) for scores in (text, image))
    answered: Floats = np.where(has_text[:, None], text, image)
    both = has_text & has_image
    if fusion is not None and both.any():
        answered[both] = fusion.combine(text[both], image[both])
    return answered


def known_answers(
    reference: Sample, classes: int, fusion: FusionModel | None, name: str
) -> Mapping[str, Known]:
    """Return the answers to the reference products whose true category is known.

    Args:
        reference: Reference of a release; that of an earlier one has no true categories.
        classes: Number of its categories.
        fusion: Its fusion model, if it has two modalities.
        name: Name of the full answer.
    """
    if reference.truth is None:
        return {}
    scores = {modality: _scores(reference, modality, classes) for modality in Modality}
    text, image = (scores[modality] for modality in Modality)
    answers = {name: combined(text, image, fusion), **{m.value: scores[m] for m in Modality}}
    return {kind: _known(rows, reference.truth) for kind, rows in answers.items()}


def _scores(reference: Sample, modality: Modality, classes: int) -> NDArray[np.float32]:
    scores = np.full((len(reference.answers), classes), np.nan, np.float32)
    if modality in reference.views:
        view = reference.views[modality]
        scores[view.products] = view.probabilities
    return scores


def _known(rows: Floats, truth: NDArray[np.int64]) -> Known:
    is_known = np.isfinite(rows[:, 0]) & (truth >= 0)
    return Known(rows[is_known].astype(np.float64), truth[is_known])
