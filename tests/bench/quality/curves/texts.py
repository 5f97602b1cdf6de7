"""Learning curves of text models: F1 by the number of training rows, and the rows for a target.

    make texts CURVE=1 DATA=folder TARGET=.80
    make texts CURVE=1 DATA=folder CANDIDATES=text_rnn SHARES="25 50 100" SEEDS=1 WORK=var/curve

Each candidate is fitted on parts of the training rows. A smaller part lies within the larger ones,
and each has its share of every category and kind of label. Prints weighted F1 on the validation and
the test rows with 95 % intervals; of several seeds, each with other parts, the mean. Then the rows
with which the error, 1 - F1, falls to the target's if it goes on to fall as a power of the number
of rows (Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017). Validation and
test rows only report. Finished fits are kept in WORK, from where an interrupted run continues.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.inference.preparation.text import TEXT_PREPARATION, product_text
from tests.bench.commands import run_command
from tests.bench.contexts import training_context
from tests.bench.quality.curves.points import (
    Places,
    Point,
    curve_parser,
    eighths_of,
    needed_rows,
    places_of,
)
from trainer.candidates.folds import strata_of
from trainer.candidates.protocols import Labels, TextCandidate
from trainer.candidates.registry import TEXT
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.steps import parameters
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.intervals import f1_interval

ANSWERS = "answers.npz"
#: Rows that only report, by column of the table.
REPORTS = ("validation", "test")


@dataclass(frozen=True)
class Products:
    """Prepared texts and true categories by use: `fit`, and each of `REPORTS`."""

    texts: Mapping[str, list[str]]
    targets: Mapping[str, Places]
    labels: Labels
    strata: Places


def main() -> int:
    """Print the curves."""
    options = _options()
    candidates = candidates_named(options.candidates)
    eighths = [eighths_of(share) for share in options.shares]
    context = training_context(options.data, options.work, options.weights)
    products = _products(context)
    print("| candidate | training rows | validation F1 (95 %) | test F1 (95 %) |")
    print("|---|---:|---:|---:|")
    found = []
    for candidate in candidates:
        curve, points = _Curve(context, candidate, products), list[Point]()
        for number in eighths:
            points.append(curve.point(number, options.seeds))
            print(_line(candidate.name, points[-1], products), flush=True)
        needed = needed_rows(products.targets["test"], points, options.target)
        found.append(f"{candidate.name}, test F1 {options.target}: {needed.text()}")
    print("", *found, sep="\n")
    return 0


def _options() -> argparse.Namespace:
    parser = curve_parser(__doc__)
    parser.add_argument("--candidates", nargs="*", default=["text_ngrams"])
    parser.add_argument("--target", type=float, default=0.8, help="F1 (default: %(default)s)")
    return parser.parse_args()


def candidates_named(names: Sequence[str]) -> list[TextCandidate]:
    """Return text candidates by their names. Raises `InvalidInput` if there is none of a name."""
    known = {one.name: one for one in TEXT}
    if unknown := [name for name in names if name not in known]:
        raise InvalidInput(
            f"Expected names of text models out of {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    return [known[name] for name in names]


def _products(context: TrainingContext) -> Products:
    data = context.data
    rows = {"fit": data.part("train", "weak", text=True)} | {
        name: data.part(name, text=True) for name in REPORTS
    }
    targets = {name: data.targets(part) for name, part in rows.items()}
    return Products(
        {name: prepared_texts(part) for name, part in rows.items()},
        targets,
        context.labels(rows["fit"]),
        strata_of(targets["fit"], is_official(rows["fit"])),
    )


@dataclass(frozen=True)
class _Curve:
    """Fits of one candidate on parts of the training rows."""

    context: TrainingContext
    candidate: TextCandidate
    products: Products

    def point(self, eighths: int, seeds: int) -> Point:
        """Return the answers of a fit by each seed."""
        parts = [places_of(self.products.strata, eighths, seed) for seed in range(seeds)]
        found = [self._answers(places, seed) for seed, places in enumerate(parts)]
        answers = {name: np.stack([one[name] for one in found]) for name in REPORTS}
        return Point(len(parts[0]), answers)

    def _answers(self, places: Places, seed: int) -> dict[str, Places]:
        candidate, context = self.candidate, self.context
        step = context.steps.run(
            f"{candidate.name} {len(places)} rows, seed {seed}",
            partial(self._keep, places, seed),
            key={
                **context.key,
                **parameters(candidate.settings),
                "preparation": TEXT_PREPARATION,
                "pretrained": candidate.pretrained(context.fit),
                "rows": sha256(places.tobytes()).hexdigest(),
                "curve_seed": seed,
            },
            code=[candidate, product_text],
        )
        with np.load(step.folder / ANSWERS) as kept:
            return {name: kept[name] for name in REPORTS}

    def _keep(self, places: Places, seed: int, folder: Path) -> None:
        """Fit on some rows, and keep the answers."""
        texts = [self.products.texts["fit"][place] for place in places]
        fit = replace(self.context.fit, seed=seed)
        prepared = folder / "prepared"
        prepared.mkdir(exist_ok=True)
        self.candidate.prepare(texts, prepared, fit)
        self.candidate.fit(texts, self.products.labels.take(places), folder, prepared, fit)
        answers = {
            name: self.candidate.predict(self.products.texts[name], folder).argmax(axis=1)
            for name in REPORTS
        }
        np.savez(folder / ANSWERS, **answers)


def _line(name: str, point: Point, products: Products) -> str:
    found = [f1_interval(products.targets[one], point.answers[one]).text() for one in REPORTS]
    return f"| {name} | {point.rows} | {' | '.join(found)} |"


if __name__ == "__main__":
    run_command(main)
