"""Learning curves of the image model and of its fusion with text, by the number of images.

    make combining CURVE=1 DATA=folder WEIGHTS=folder
    make combining CURVE=1 DATA=folder WEIGHTS=folder SHARES="25 50 100" SEEDS=1 WORK=var/curve

The head of an image model is fitted on parts of the training images. A smaller part lies within the
larger ones, and each has its share of every category and kind of label. The image model is measured
on the test images. Its log-linear pool with the text model of the starter release is fitted on
held-out products with both, and measured on the officially labelled ones: those of the held-out
rows by fits without them, and those of the test rows. Then the images with which the error, 1 - F1,
falls to the target's if it goes on to fall as a power of their number. Finished fits are kept in
WORK, from where an interrupted run continues.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from shared.errors import InvalidInput
from tests.bench.commands import run_command
from tests.bench.contexts import training_context
from tests.bench.quality.combining.ideas import Idea, alone, pool
from tests.bench.quality.combining.outcomes import Outcome, outcome_of
from tests.bench.quality.combining.scores import Floats, Rows, Scored, rows_of, starter_texts
from tests.bench.quality.curves.points import (
    Places,
    Point,
    curve_parser,
    eighths_of,
    needed_rows,
    places_of,
)
from trainer.candidates.calibration import softmax
from trainer.candidates.folds import strata_of
from trainer.candidates.image.backbone import BACKBONE
from trainer.candidates.image.head import FrozenBackbone
from trainer.candidates.protocols import Labels
from trainer.candidates.registry import IMAGES as CANDIDATES
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.fitting import PARTS
from trainer.pipeline.image_stage import readable_rows
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.steps import parameters
from trainer.release.intervals import f1_difference, f1_interval

#: F1 of the image model on the test images, and F1 of fusion over that of text.
IMAGE_TARGET, GAIN_TARGET = 0.55, 0.03
LOGITS = "logits.npz"
TEXT_ALONE, FUSION = Idea("text alone", alone(0)), Idea("log-linear pool", pool)
#: Repeats of the cross-validation of a fusion, for each fit of the image model.
REPEATS = 5
#: Rows that are scored, by their use.
SCORED = ("held", "test")
IMAGES, BOTH = "images", "products with both"


@dataclass(frozen=True)
class Products:
    """Rows with a readable image, by use: `fit`, `held` and `test`."""

    rows: Mapping[str, pd.DataFrame]
    images: Mapping[str, RowImages]
    labels: Labels

    @cached_property
    def strata(self) -> Places:
        """Groups of the training rows of which every part gets its share."""
        return strata_of(self.labels.targets, is_official(self.rows["fit"]))


def main() -> int:
    """Print the curves."""
    options = _options()
    candidate = candidate_named(options.candidate)
    eighths = [eighths_of(share) for share in options.shares]
    context = training_context(options.data, options.work, options.weights)
    if reason := candidate.unavailable_reason(context.fit):
        raise InvalidInput(reason)
    with threadpool_limits(limits=1, user_api="blas"):
        _print_curves(_Curve(context, candidate, products_of(context)), eighths, options.seeds)
    return 0


def _options() -> argparse.Namespace:
    parser = curve_parser(__doc__)
    parser.add_argument("--candidate", default="image_efficientnet_lite0")
    return parser.parse_args()


def candidate_named(name: str) -> FrozenBackbone:
    """Return an image candidate by its name.

    Raises:
        InvalidInput: No candidate with a frozen network has the name.
    """
    known = {one.name: one for one in CANDIDATES if isinstance(one, FrozenBackbone)}
    if name not in known:
        raise InvalidInput(f"Expected one of {', '.join(known)}. Received: {name}")
    return known[name]


def _print_curves(curve: "_Curve", eighths: list[int], seeds: int) -> None:
    print("| training images | image F1 on test (95 %) | fusion F1 (95 %) | fusion - text (95 %) |")
    print("|---:|---:|---:|---:|")
    points = []
    for number in eighths:
        points.append(curve.point(number, seeds))
        print(_line(points[-1], curve), flush=True)
    text = f1_interval(curve.pair_targets, curve.text_answers[None])
    print(f"\nText alone, {len(curve.pair_targets)} official products with both: {text.text()}")
    image = needed_rows(curve.image_targets, points, IMAGE_TARGET, IMAGES)
    fusion = needed_rows(curve.pair_targets, points, text.value + GAIN_TARGET, BOTH)
    print(f"Image F1 {IMAGE_TARGET}: {image.text('images')}")
    print(f"Fusion F1 {GAIN_TARGET} over text: {fusion.text('images')}")


def _line(point: Point, curve: "_Curve") -> str:
    images, both = point.answers[IMAGES], point.answers[BOTH]
    texts = np.repeat(curve.text_answers[None], len(both), axis=0)
    cells = [
        f1_interval(curve.image_targets, images).text(),
        f1_interval(curve.pair_targets, both).text(),
        f1_difference(curve.pair_targets, both, texts).text(signed=True),
    ]
    return f"| {point.rows} | {' | '.join(cells)} |"


def products_of(context: TrainingContext) -> Products:
    """Return the rows with a readable image."""
    rows = {name: readable_rows(context, name, parts) for name, parts in PARTS.items()}
    images = {
        name: RowImages(part, context.features, context.log_line) for name, part in rows.items()
    }
    return Products(rows, images, context.labels(rows["fit"]))


@dataclass(frozen=True)
class _Curve:
    """Fits of one candidate on parts of the training images, and their fusion with text."""

    context: TrainingContext
    candidate: FrozenBackbone
    products: Products

    @cached_property
    def image_targets(self) -> Places:
        """True categories of the test images."""
        return self.context.data.targets(self.products.rows["test"])

    @cached_property
    def texts(self) -> Mapping[str, Rows]:
        """Scores of the text model for products with both, by use."""
        found = starter_texts(self.context.data, self.context.settings.work / "combining")
        return {
            name: rows_of(self.context.data, self._both(name), found["scores"][-1:], found["rows"])
            for name in SCORED
        }

    @cached_property
    def official(self) -> Places:
        """Places of the officially labelled held-out products with both."""
        return np.flatnonzero(self.texts["held"].is_official)

    @cached_property
    def pair_targets(self) -> Places:
        """True categories of the official products with both: held-out ones, then test ones."""
        held, test = (self.texts[name].targets for name in SCORED)
        return np.concatenate([held[self.official], test])

    @cached_property
    def text_answers(self) -> Places:
        """Answers of the text model alone to the official products with both."""
        scored = Scored(("text",), *(self.texts[name] for name in SCORED))
        answers: Places = self._official(outcome_of(TEXT_ALONE, scored, repeats=1))[0]
        return answers

    def point(self, eighths: int, seeds: int) -> Point:
        """Return the answers of a fit by each seed."""
        strata = self.products.strata
        parts = [places_of(strata, eighths, seed) for seed in range(seeds)]
        fits = [self._logits(places, seed) for seed, places in enumerate(parts)]
        answers = {
            IMAGES: np.stack([one["test"].argmax(axis=1) for one in fits]),
            BOTH: np.concatenate([self._fused(one) for one in fits]),
        }
        return Point(len(parts[0]), answers)

    def _fused(self, logits: Mapping[str, Floats]) -> Places:
        """Return the answers to official products with both, shape `(repeats, products)`."""
        pairs = []
        for name in SCORED:
            index = self.products.rows[name].index.to_numpy()
            scores = softmax(logits[name])[None]
            image = rows_of(self.context.data, self._both(name), scores, index)
            text = self.texts[name]
            pairs.append(replace(text, inputs=np.concatenate([text.inputs, image.inputs])))
        return self._official(outcome_of(FUSION, Scored(("text", "image"), *pairs), REPEATS))

    def _official(self, outcome: Outcome) -> Places:
        answers: Places = outcome.official(self.official).argmax(axis=2)
        return answers

    def _both(self, name: str) -> pd.DataFrame:
        rows = self.products.rows[name]
        return rows[rows["has_text"]]

    def _logits(self, places: Places, seed: int) -> dict[str, Floats]:
        candidate, context = self.candidate, self.context
        step = context.steps.run(
            f"{candidate.name} {len(places)} images, seed {seed}",
            partial(self._keep, places, seed),
            key={
                **context.key,
                **parameters(candidate.settings),
                "rows": sha256(places.tobytes()).hexdigest(),
                "curve_seed": seed,
            },
            code=[candidate, RowImages],
        )
        with np.load(step.folder / LOGITS) as kept:
            return {name: kept[name] for name in SCORED}

    def _keep(self, places: Places, seed: int, folder: Path) -> None:
        """Fit on some images, and keep the logits."""
        images, candidate = self.products.images, self.candidate
        copyfile(self._backbone, folder / BACKBONE)
        fit = replace(self.context.fit, seed=seed)
        candidate.fit(images["fit"].take(places), self.products.labels.take(places), folder, fit)
        found: dict[str, Any] = {name: candidate.predict(images[name], folder) for name in SCORED}
        np.savez(folder / LOGITS, **found)

    @cached_property
    def _backbone(self) -> Path:
        """The network in its served form; all fits share it."""
        candidate, context = self.candidate, self.context
        step = context.steps.run(
            f"{candidate.name} network",
            lambda folder: candidate.place(
                folder / BACKBONE, self.products.images["fit"], context.fit
            ),
            key={**context.key, "arithmetic": context.settings.arithmetic},
            code=[candidate],
        )
        return step.folder / BACKBONE


if __name__ == "__main__":
    run_command(main)
