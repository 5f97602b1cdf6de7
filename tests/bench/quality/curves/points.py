"""Learning curves: parts of the training rows, and the rows with which a curve reaches a target."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from tests.bench.arguments import dataset_parser
from trainer.candidates.folds import folds_of
from trainer.release.intervals import CONFIDENCE, distinct, mean_f1

Places = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Training rows are divided into so many parts; a share is some of them.
PARTS = 8
SHARES = (12.5, 25.0, 50.0, 100.0)
SEEDS = 2
RESAMPLES = 1_000
#: Larger numbers of rows are not printed: a curve that is nearly flat may need any number.
MOST_ROWS = 1_000_000_000


@dataclass(frozen=True)
class Point:
    """One point of a curve.

    Attributes:
        rows: Number of training rows.
        answers: Answers to the rows that report by their name, each of shape `(fits, rows)`.
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

    def text(self, unit: str = "rows") -> str:
        """Return the numbers for a reader."""
        rows, low, high = (_number(one) for one in (self.rows, self.low, self.high))
        return (
            f"{rows} {unit} ({low} to {high}); "
            f"twice the {unit} leave {self.doubling:.3f} of the error"
        )


def _number(rows: float) -> str:
    return f"{rows:,.0f}" if rows <= MOST_ROWS or np.isinf(rows) else f"more than {MOST_ROWS:,}"


def curve_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all curves share."""
    parser = dataset_parser(doc)
    parser.add_argument("--weights", type=Path, help="folder of pretrained weights")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--shares", nargs="*", type=float, default=SHARES, help="in per cent")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fits of each part")
    return parser


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


def needed_rows(
    targets: Places, points: Sequence[Point], target: float, report: str = "test"
) -> Needed:
    """Return the training rows with which the F1 of a curve's continuation is the target.

    Args:
        targets: True categories of the rows that report, shape `(rows,)`.
        points: The curve.
        target: Weighted F1.
        report: Name of the rows that report.

    Raises:
        InvalidInput: A single point shows no trend, or the target is no F1 below 1.
    """
    if len({one.rows for one in points}) < 2:
        raise InvalidInput(f"Expected at least two shares. Received: {len(points)}")
    if not 0 < target < 1:
        raise InvalidInput(f"Expected a target between 0 and 1. Received: {target:g}")
    answers = [one.answers[report] for one in points]
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
