"""Evaluation of a release folder on held-out rows, with the code that serves."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import log_loss
from trainer.datasets.folder import Dataset
from trainer.release.intervals import Interval
from trainer.release.loaded import LoadedRelease
from trainer.release.tree_levels import Tree, level_intervals

Floats = NDArray[np.float32]

#: Number of equal confidence bins in the calibration error.
CALIBRATION_BINS = 15
#: Figures of a release: rows that only its final fit learnt from, and those of them from `test`.
FINAL_FIT_ROWS, FINAL_FIT_TEST_ROWS = "final_fit_rows", "final_fit_test_rows"


@dataclass(frozen=True)
class Figures:
    """Quality of probabilities on some rows.

    Attributes:
        rows: Number of rows.
        f1_plain: Weighted F1 with equal row weights.
        f1_official: Weighted F1 in which a row counts official share / share here of its category;
            comparable to published figures. `nan` if the official shares are unknown.
        calibration_error: Expected calibration error.
        log_loss: Mean log loss in nats.
        levels: Weighted F1 at each level of the tree of categories; none without a tree.
    """

    rows: int
    f1_plain: float
    f1_official: float
    calibration_error: float
    log_loss: float
    levels: tuple[Interval, ...] = ()

    def named(self, prefix: str) -> dict[str, float]:
        """Return the figures under their names in a release, such as `text_f1_plain`.

        Those of the first level are `text_level1_f1`, `text_level1_low` and `text_level1_high`.
        """
        plain = {name: value for name, value in vars(self).items() if name != "levels"}
        named = {f"{prefix}_{name}": float(value) for name, value in plain.items()}
        for level, one in enumerate(self.levels, start=1):
            ends = {"f1": one.value, "low": one.low, "high": one.high}
            named |= {f"{prefix}_level{level}_{name}": value for name, value in ends.items()}
        return {name: value for name, value in named.items() if not np.isnan(value)}


def evaluate_release(folder: Path, data: Dataset, part: str = "test") -> dict[str, Figures]:
    """Measure a release on one part: text, image, and fusion on the rows that have both.

    `text_both` and `image_both` are the single modalities on the fusion's rows. A model that the
    release lacks, or for which the part has no rows, has no figures.
    """
    release = LoadedRelease.load(folder)
    texts = data.part(part, text=True)
    images = data.part(part, image=True)
    found: dict[str, Figures] = {}
    if release.text and len(texts):
        text = pd.DataFrame(release.score_texts(texts), index=texts.index)
        found["text"] = _figures(data, texts, text)
    if release.image and len(images):
        image = pd.DataFrame(release.score_images(images), index=images.index)
        found["image"] = _figures(data, images, image)
    both = data.part(part, text=True, image=True)
    if release.fusion and len(both):
        found |= _fused(data, both, text.loc[both.index], image.loc[both.index], release.fusion)
    return found


def figures_of(
    probabilities: Floats, targets: NDArray[np.int64], weights: Floats | None = None
) -> Figures:
    """Measure probabilities `(rows, classes)` against true columns `(rows,)`."""
    predicted = probabilities.argmax(axis=1)
    official = (
        float("nan")
        if weights is None
        else f1_score(targets, predicted, average="weighted", sample_weight=weights)
    )
    return Figures(
        rows=len(targets),
        f1_plain=float(f1_score(targets, predicted, average="weighted")),
        f1_official=float(official),
        calibration_error=calibration_error(probabilities, targets),
        log_loss=log_loss(probabilities, targets),
    )


def calibration_error(probabilities: Floats, targets: NDArray[np.int64]) -> float:
    """Return the expected calibration error (Naeini et al. 2015), in equal bins."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        abs(float(is_right[bins == b].mean()) - float(confidence[bins == b].mean()))
        * float((bins == b).mean())
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def official_weights(codes: NDArray[np.int64], official_share: dict[int, float]) -> Floats | None:
    """Return each row's official share / share here of its category; `None` if unknown."""
    present, counts = np.unique(codes, return_counts=True)
    if not set(present.tolist()) <= set(official_share):
        return None
    weight = {
        int(code): official_share[int(code)] / (count / len(codes))
        for code, count in zip(present, counts, strict=True)
    }
    return np.array([weight[int(code)] for code in codes], np.float32)


def _figures(data: Dataset, rows: pd.DataFrame, probabilities: pd.DataFrame) -> Figures:
    codes, scores = rows["code"].to_numpy(np.int64), probabilities.to_numpy(np.float32)
    weights = official_weights(codes, data.official_share)
    figures = figures_of(scores, data.targets(rows), weights)
    categories = data.categories.categories
    answers = np.array(data.categories.codes, np.int64)[scores.argmax(axis=1)]
    return replace(figures, levels=level_intervals(Tree.of(categories), codes, answers))


def _fused(
    data: Dataset, rows: pd.DataFrame, text: pd.DataFrame, image: pd.DataFrame, fusion: FusionModel
) -> dict[str, Figures]:
    fused = fusion.combine(text.to_numpy(np.float32), image.to_numpy(np.float32))
    return {
        "fusion": _figures(data, rows, pd.DataFrame(fused, index=rows.index)),
        "text_both": _figures(data, rows, text),
        "image_both": _figures(data, rows, image),
    }
