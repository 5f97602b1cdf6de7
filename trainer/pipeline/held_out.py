"""Held-out rows of the chosen models: those that check the export, and those of the package test.

No model was fitted on them, and their probabilities are from before the export.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.inference.manifest import TextPart
from shared.inference.releases.confidence import HeldOutConfidence, LabelledRows, calibrated
from shared.inference.releases.fusion_model import FusionModel, shifted
from shared.inference.releases.image_model import Head
from shared.inference.releases.novelty import FOREIGN_FROM, Novelty
from trainer.datasets.folder import Dataset
from trainer.pipeline.agreement import HeldOut, spread
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import ENOUGH_TO_CALIBRATE, Model, deciding
from trainer.pipeline.fusion_stage import Fused
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.golden import Golden, GoldenRows
from trainer.release.loaded import TextModel

Floats = NDArray[np.float32]

#: Digits of a confidence in an answer.
DIGITS = 4
#: Number of rows in the acceptance test.
GOLDEN_ROWS = 64
#: Number of texts that are scored at once.
BATCH = 64


@dataclass(frozen=True)
class Chosen:
    """The models of the release, and all that were tried.

    Attributes:
        text: All text models, the one that serves first.
        image: All image models, the one that serves first.
        fusion: Combines both modalities; `None` if none could be fitted.
        board: The leaderboard.
    """

    text: list[Model]
    image: list[Model]
    fusion: Fused | None
    board: list[Entry]

    @property
    def serving_text(self) -> Model | None:
        """The text model of the release."""
        return self.text[0] if self.text else None

    @property
    def serving_image(self) -> Model | None:
        """The image model of the release; `None` if no fusion combines it with the text model."""
        return self.image[0] if self.image and (self.fusion or not self.text) else None

    @property
    def models(self) -> list[Model]:
        """The serving models, without the fusion."""
        return [model for model in (self.serving_text, self.serving_image) if model is not None]


def held_out_rows(context: TrainingContext, chosen: Chosen) -> dict[str, HeldOut]:
    """Return held-out rows by part, with which the export compares its files."""
    found = {}
    if chosen.serving_text:
        found["text"] = _texts(context, chosen.serving_text)
    if chosen.serving_image:
        found["image"] = _images(context, chosen.serving_image)
    if chosen.fusion:
        found["fusion"] = _fusions(context, chosen, chosen.fusion.model)
    return found


def _texts(context: TrainingContext, model: Model) -> HeldOut:
    held = model.held.iloc[spread(len(model.held))]
    rows = context.data.rows.loc[held.index]
    texts = prepared_texts(rows)

    def score(release: Path, part: TextPart) -> Floats:
        exported = TextModel(release, part)
        starts = range(0, len(texts), BATCH)
        return np.concatenate([exported.score(texts[start : start + BATCH]) for start in starts])

    return HeldOut(held.to_numpy(np.float32), context.data.targets(rows), score)


def _images(context: TrainingContext, model: Model) -> HeldOut:
    held = model.held.iloc[spread(len(model.held))]
    rows = context.data.rows.loc[held.index]
    part = model.parts[0]
    images = RowImages(rows, context.features, context.log_line)
    size, backbone = part.candidate.size, part.folder / "backbone.onnx"
    features = images.features(part.candidate.network, backbone, size)
    return HeldOut(
        held.to_numpy(np.float32),
        context.data.targets(rows),
        lambda release, image: Head(release, image).score(features),
    )


def _fusions(context: TrainingContext, chosen: Chosen, model: FusionModel) -> HeldOut:
    index, both = _both(chosen)
    places = spread(len(index))
    text, image = (one[places] for one in both)
    return HeldOut(
        model.combine(text, image),
        context.data.targets(context.data.rows.loc[index[places]]),
        lambda release, _: FusionModel.load(release / "fusion").combine(text, image),
    )


def novelty_of(context: TrainingContext, chosen: Chosen) -> Novelty:
    """Return how held-out products of the categories look, with which foreign ones contrast.

    Weakly labelled products, which are easier, count only where there are few others.
    """
    held = {
        kind: (model.held.index, model.held.to_numpy(np.float32))
        for kind, model in (("text", chosen.serving_text), ("image", chosen.serving_image))
        if model is not None
    }
    if chosen.fusion:
        index, both = _both(chosen)
        held["fusion"] = index, chosen.fusion.model.combine(*both)
    rows = context.data.rows
    return Novelty.fitted(
        {
            kind: found[index.isin(deciding(rows.loc[index]).index)]
            for kind, (index, found) in held.items()
        }
    )


def confidence_of(context: TrainingContext, chosen: Chosen) -> dict[str, HeldOutConfidence]:
    """Return how often answers to held-out products are right, by their confidence and kind.

    Each product is answered by temperatures, weights and a fusion that were fitted without it.
    Products that seem foreign are left out, as by the precision dial. Weakly labelled ones, which
    are easier, count only where hardly any others are there.
    """
    rows = context.data.rows
    found: dict[str, tuple[pd.Index, Floats]] = {}
    for kind, model in (("text", chosen.serving_text), ("image", chosen.serving_image)):
        if model is not None:
            ratios = next((np.array(part.ratios) for part in model.parts if part.ratios), None)
            scores = model.out_of_fold
            found[kind] = scores.index, _adjusted(scores.to_numpy(np.float32), ratios)
    if chosen.fusion:
        index, _ = _both(chosen)
        found["fusion"] = index, _adjusted(chosen.fusion.out_of_fold, chosen.fusion.model.ratios)
    novelty = novelty_of(context, chosen)
    return {
        kind: _confidence(scores[mask], context.data.targets(rows.loc[index[mask]]), novelty, kind)
        for kind, (index, scores) in found.items()
        if (mask := index.isin(deciding(rows.loc[index], ENOUGH_TO_CALIBRATE).index)).any()
    }


def _adjusted(scores: Floats, ratios: NDArray[np.floating[Any]] | None) -> Floats:
    return scores if ratios is None else shifted(scores, ratios)


def _confidence(
    scores: Floats, targets: NDArray[np.int64], novelty: Novelty, kind: str
) -> HeldOutConfidence:
    foreign = novelty.score(kind, scores)
    known = np.full(len(scores), True) if foreign is None else foreign < FOREIGN_FROM
    confidences = scores[known].max(axis=1).astype(np.float64).round(DIGITS)
    right = scores[known].argmax(axis=1) == targets[known]
    labelled = (
        LabelledRows(float(one), 1, int(is_right))
        for one, is_right in zip(confidences, right, strict=True)
    )
    return HeldOutConfidence(int(known.sum()), calibrated(labelled))


def golden_rows(context: TrainingContext, chosen: Chosen, folder: Path) -> Golden:
    """Return rows of the package test; their images are written into a folder."""
    text = image = fusion = None
    if chosen.serving_text:
        held = _spread(chosen.serving_text.held)
        rows = context.data.rows.loc[held.index]
        products = zip(rows["designation"], rows["description"], strict=True)
        text = GoldenRows.texts(products, held.to_numpy(np.float32))
    if chosen.serving_image:
        held = _spread(chosen.serving_image.held)
        paths = _files(context.data, held.index, folder)
        image = GoldenRows.images(paths, held.to_numpy(np.float32))
    if chosen.fusion:
        _, both = _both(chosen)
        found = [one[:GOLDEN_ROWS] for one in both]
        fusion = GoldenRows.fusions(found[0], found[1], chosen.fusion.model.combine(*found))
    return Golden(text, image, fusion)


def _both(chosen: Chosen) -> tuple[pd.Index, Sequence[Floats]]:
    """Return the rows that both modalities scored, and the probabilities of each."""
    index = chosen.text[0].held.index.intersection(chosen.image[0].held.index)
    return index, [model.held.loc[index].to_numpy(np.float32) for model in chosen.models]


def _files(data: Dataset, index: pd.Index, folder: Path) -> list[Path]:
    """Write the images of some rows into a folder: the acceptance test reads files only."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / f"{place}.image" for place in range(len(index))]
    for path, reference in zip(paths, data.rows.loc[index, "image"], strict=True):
        path.write_bytes(data.read_image(reference))
    return paths


def _spread(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Return rows spread evenly over all."""
    places = np.linspace(0, len(probabilities) - 1, min(GOLDEN_ROWS, len(probabilities)))
    return probabilities.iloc[np.unique(places.astype(int))]
