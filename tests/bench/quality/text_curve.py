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
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.inference.preparation.text import TEXT_PREPARATION, product_text
from tests.bench.arguments import dataset_parser
from tests.bench.printed import Printed
from trainer.candidates.folds import folds_of, strata_of
from trainer.candidates.protocols import Labels, TextCandidate
from trainer.candidates.registry import TEXT
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingContext, TrainingSettings, is_official
from trainer.pipeline.steps import Steps, parameters
from trainer.pipeline.text_stage import prepared_texts
from trainer.release.intervals import CONFIDENCE, distinct, f1_interval, mean_f1

Places = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Training rows are divided into so many parts; a share is some of them.
PARTS = 8
SHARES = (12.5, 25.0, 50.0, 100.0)
SEEDS = 2
RESAMPLES = 1_000
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


@dataclass(frozen=True)
class Point:
    """One point of a curve.

    Attributes:
        rows: Number of training rows.
        answers: Answers to the rows that report, each of shape `(seeds, rows)`.
    """

    rows: int
    answers: Mapping[str, Places]


@dataclass(frozen=True)
class Needed:
    """Training rows for a target.

    Attributes:
        rows: By all rows that report.
        low, high: 95 % interval over these rows; infinite where the error does not fall.
        doubling: Error with twice the rows, as a share of the error.
    """

    rows: float
    low: float
    high: float
    doubling: float

    def text(self) -> str:
        """Return the numbers for a reader."""
        return (
            f"{self.rows:,.0f} rows ({self.low:,.0f} to {self.high:,.0f}); "
            f"twice the rows leave {self.doubling:.3f} of the error"
        )


def main() -> int:
    """Print the curves."""
    options = _options()
    settings = TrainingSettings(work=options.work, weights=options.weights).absolute()
    settings.work.mkdir(parents=True, exist_ok=True)
    candidates = candidates_named(options.candidates)
    eighths = [eighths_of(share) for share in options.shares]
    steps = Steps(settings.work, total=0)
    context = TrainingContext(settings, load(options.data), steps, Printed())
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
    parser = dataset_parser(__doc__)
    parser.add_argument("--weights", type=Path, help="folder of pretrained weights")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--candidates", nargs="*", default=["text_ngrams"])
    parser.add_argument("--shares", nargs="*", type=float, default=SHARES, help="in per cent")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fits of each part")
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


def eighths_of(share: float) -> int:
    """Return a share in per cent as a number of eighths. Raises `InvalidInput` if it is none."""
    number = share * PARTS / 100
    if not (number.is_integer() and 1 <= number <= PARTS):
        raise InvalidInput(
            f"Expected shares that are multiples of 12.5 up to 100. Received: {share:g}"
        )
    return int(number)


def places_of(strata: Places, eighths: int, seed: int) -> Places:
    """Return the positions of the rows in some eighths, which lie within those of more eighths."""
    part = folds_of(strata, PARTS, np.random.default_rng(seed))
    return np.flatnonzero(part < eighths)


def needed_rows(targets: Places, points: Sequence[Point], target: float) -> Needed:
    """Return the rows with which the test F1 of a curve's continuation is the target.

    Args:
        targets: True categories of the test rows, shape `(rows,)`.
        points: The curve.
        target: Weighted F1.

    Raises:
        InvalidInput: A single point shows no trend, or the target is no F1 below 1.
    """
    if len({one.rows for one in points}) < 2:
        raise InvalidInput(f"Expected at least two shares. Received: {len(points)}")
    if not 0 < target < 1:
        raise InvalidInput(f"Expected a target between 0 and 1. Received: {target:g}")
    answers = [one.answers["test"] for one in points]
    cells, counts = distinct(np.stack([targets, *np.concatenate(answers)], axis=1))
    draws = np.random.default_rng(0).multinomial(
        len(targets), counts / len(targets), size=RESAMPLES
    )
    drawn = np.concatenate([counts[None], draws])
    ends = np.cumsum([1, *map(len, answers)])
    columns = [range(*pair) for pair in pairwise(ends)]
    f1 = np.stack([mean_f1(cells, some, drawn) for some in columns], axis=1)
    rows, exponents = continued(np.array([one.rows for one in points]), 1 - f1, 1 - target)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rows[1:], [tail, 1 - tail], method="nearest")
    return Needed(float(rows[0]), float(low), float(high), float(2 ** -exponents[0]))


def continued(sizes: Places, errors: Floats, wanted: float) -> tuple[Floats, Floats]:
    """Continue curves of errors by the power laws with the least squares of their logarithms.

    Args:
        sizes: Training rows, shape `(points,)`.
        errors: Shape `(curves, points)`.
        wanted: Error to reach.

    Returns:
        Rows at which each curve reaches it, infinite if it does not fall, and the exponent `b` of
        each, `error = a · rows^-b`; both of shape `(curves,)`.
    """
    slopes, constants = np.polyfit(np.log(sizes), np.log(errors).T, 1)
    exponents = -slopes
    falls = exponents > 0
    logarithms = np.full(len(errors), np.inf)
    np.divide(constants - np.log(wanted), exponents, out=logarithms, where=falls)
    return np.exp(logarithms), exponents


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
    sys.exit(main())
