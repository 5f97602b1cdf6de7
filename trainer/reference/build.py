"""Drift reference of a release: the sample with which the monitor compares its answers.

It is measured with the serving code on held-out products, on which no model of the release was
fitted; on its training products a model is more confident than on any later ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.contracts import Modality
from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.fusion_model import FusionModel
from shared.skipping import skipping
from trainer.datasets.folder import Dataset
from trainer.datasets.images import file_name
from trainer.reference.descriptors import describe_image, describe_texts
from trainer.reference.sample import Products, Sample
from trainer.release.evaluation import FINAL_FIT_ROWS, FINAL_FIT_TEST_ROWS
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

WEAK = "weak_held"
HELD_OUT = ("test", "validation", WEAK)
#: Size of the sample of held-out products. With a window of 1,000, even an infinite reference would
#: leave six tenths of the sampling noise; this size takes 150 kB of a release.
MOST_PRODUCTS = 1_700


def measure_reference(release: LoadedRelease, data: Dataset) -> Sample:
    """Describe and score the products of a release's reference, with their true categories.

    Raises:
        InvalidInput: The release has learnt from all held-out products in its final fit.
    """
    rows = reference_rows(data, held_out_from(release.manifest))
    truth = true_columns(rows, release.manifest.category_set.codes)
    return replace(scored(release, data, rows).sample(), truth=truth)


def true_columns(rows: pd.DataFrame, codes: Sequence[int]) -> Counts:
    """Return the column of each row's category, shape `(rows,)`; -1 for an unknown one.

    Labels of `weak_held` rows agree with models more often than people do, so they do not count.
    """
    column = {code: place for place, code in enumerate(codes)}
    columns = rows["code"].map(column).fillna(-1).where(rows["part"] != WEAK, -1)
    return np.array(columns, np.int64)


def scored(release: LoadedRelease, data: Dataset, rows: pd.DataFrame) -> Products:
    """Describe and score products of a dataset as the monitor does with answered products."""
    texts = list(zip(rows["designation"], rows["description"], strict=True))
    images: dict[int, Floats | None] = {}
    for place, reference in enumerate(rows["image"]):
        if reference:
            images[place] = None
            with skipping("reference", reference):
                images[place] = describe_image(data.read_image(reference))
    scores = _scores(release, rows, [place for place, one in images.items() if one is not None])
    answers = answers_of(scores, release.fusion)
    return Products(texts, describe_texts(texts), images, scores, answers)


def answers_of(scores: Mapping[Modality, Floats], fusion: FusionModel | None) -> Counts:
    """Return the column of each product's served answer; -1 if no model scored it."""
    (first, *others) = scores.values()
    fused = first.copy()
    for other in others:
        fused = np.where(np.isnan(fused), other, fused)
    if others and fusion is not None:
        both = np.flatnonzero(~np.isnan(first[:, 0]) & ~np.isnan(others[0][:, 0]))
        text, image = (scores[modality][both].astype(np.float32) for modality in Modality)
        fused[both] = fusion.combine(text, image)
    is_scored = ~np.isnan(fused[:, 0])
    answers = np.full(len(fused), -1, np.int64)
    answers[is_scored] = fused[is_scored].argmax(axis=1)
    return answers


def _scores(
    release: LoadedRelease, rows: pd.DataFrame, readable: list[int]
) -> dict[Modality, Floats]:
    found = {}
    shape = (len(rows), len(release.manifest.categories))
    if release.text is not None:
        places = np.flatnonzero(rows["has_text"])
        found[Modality.TEXT] = np.full(shape, np.nan)
        found[Modality.TEXT][places] = release.score_texts(rows.iloc[places])
    if release.image is not None:
        found[Modality.IMAGE] = np.full(shape, np.nan)
        found[Modality.IMAGE][readable] = release.score_images(rows.iloc[readable])
    return found


def held_out_from(manifest: ReleaseManifest) -> tuple[str, ...]:
    """Return the parts of its dataset that a release has not learnt from.

    A training measures its reference before the final fit, so this matters to an older release that
    gets another one.

    Raises:
        InvalidInput: It has learnt from all of them.
    """
    if manifest.figures.get(FINAL_FIT_TEST_ROWS, 0.0):
        raise InvalidInput(
            "Expected a release that held-out products can be scored by. Received: "
            f"{manifest.name}, which has learnt from all of them, the test rows included"
        )
    return ("test",) if manifest.figures.get(FINAL_FIT_ROWS, 0.0) else HELD_OUT


def reference_rows(data: Dataset, parts: tuple[str, ...] = HELD_OUT) -> pd.DataFrame:
    """Return the held-out products of the reference; the choice is deterministic."""
    held = data.part(*parts)
    return held.iloc[np.argsort(_digests(held), kind="stable")[:MOST_PRODUCTS]]


def other_rows(data: Dataset) -> pd.DataFrame:
    """Return the held-out products outside the reference, for experiments with windows."""
    return data.part(*HELD_OUT).drop(index=reference_rows(data).index)


def _digests(rows: pd.DataFrame) -> list[str]:
    """Return a hash of each product, for a deterministic arbitrary order."""
    images = map(file_name, rows["image"])
    contents = zip(rows["designation"], rows["description"], images, strict=True)
    return [sha256("\n".join(values).encode()).hexdigest() for values in contents]
