"""F1 of a fine-tuned image network beside the frozen one.

    make imagetuning FIT=1 DATA=folder WEIGHTS=folder NETWORK=xception WORK=var/training

Both candidates are fitted as in a training, on the images of `train` and the weakly labelled ones,
and answer the held-out and the test images. Prints weighted F1, on `test` also by official shares,
with 95 % intervals, and the paired differences to the frozen network. Finished epochs and fits are
kept in WORK, from where an interrupted run continues. Without FIT, the command computes how long
the fit takes. `make combining CURVE=1` prints the learning curve of frozen networks.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tests.bench.commands import run_command
from tests.bench.contexts import training_context
from tests.bench.image_networks import candidate_of, network_parser, require_weights
from tests.bench.quality.curves.images import Products, products_of
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.image_stage import fit_images
from trainer.release.evaluation import official_weights
from trainer.release.intervals import (
    CONFIDENCE,
    Interval,
    distinct,
    weighted_f1,
)

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

RESAMPLES = 4_000


@dataclass(frozen=True)
class Report:
    """Rows on which F1 is reported.

    Attributes:
        name: Column of the table.
        use: `held` or `test`.
        chosen: Mask of these among the rows of that use.
        weights: Weight of each category by its column number; `None` counts rows equally.
    """

    name: str
    use: str
    chosen: NDArray[np.bool_]
    weights: Floats | None = None


def main() -> int:
    """Fit, and print the figures."""
    options = _options()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    candidate = candidate_of(options)
    context = training_context(options.data, options.work, options.weights)
    require_weights(candidate, context.fit)
    products = products_of(context)
    fits = {
        one.name: fit_images(context, one, products.images["fit"], products.labels)
        for one in (candidate.frozen, candidate)
    }
    answers = {
        one.name: {
            use: one.predict(products.images[use], fits[one.name].folder).argmax(axis=1)
            for use in ("held", "test")
        }
        for one in (candidate.frozen, candidate)
    }
    print(f"fitted on {len(products.images['fit'])} images")
    print_figures(context, products, answers[candidate.frozen.name], answers[candidate.name])
    for name, step in fits.items():
        print(f"{name}: fitted in {step.seconds / 3600:.2f} hours, {step.peak_megabytes:.0f} MB")
    return 0


def _options() -> argparse.Namespace:
    parser = network_parser(__doc__)
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    return parser.parse_args()


def print_figures(
    context: TrainingContext,
    products: Products,
    frozen: Mapping[str, Codes],
    tuned: Mapping[str, Codes],
) -> None:
    """Print F1 of both networks, and their paired difference.

    Args:
        context: Context of the fits.
        products: Rows.
        frozen: Answers of the frozen network by use.
        tuned: Answers of the fine-tuned one.
    """
    print("\n| rows | | frozen | all layers | difference (95 %) |")
    print("|---|---:|---:|---:|---:|")
    for one in _reports(context, products):
        if not one.chosen.any():
            continue
        targets = context.data.targets(products.rows[one.use])
        columns = np.stack([targets, frozen[one.use], tuned[one.use]], axis=1)[one.chosen]
        before, after, difference = compared(columns, one.weights)
        print(
            f"| {one.name} | {len(columns)} | {before.text()} | {after.text()} "
            f"| {difference.text(signed=True)} |"
        )


def _reports(context: TrainingContext, products: Products) -> list[Report]:
    held, test = products.rows["held"], products.rows["test"]
    official, every = is_official(held), np.ones(len(test), bool)
    reports = [
        Report("held, official", "held", official),
        Report("held, weak", "held", ~official),
        Report("test, plain", "test", every),
    ]
    shares = official_weights(test["code"].to_numpy(), context.data.official_share)
    if shares is not None:
        weights = np.zeros(len(context.data.categories), np.float32)
        weights[context.data.targets(test)] = shares
        reports.append(Report("test, by official shares", "test", every, weights))
    return reports


def compared(columns: Codes, weights: Floats | None) -> tuple[Interval, Interval, Interval]:
    """Return the weighted F1 of two models and their paired difference, by the bootstrap.

    Args:
        columns: True category and both answers of each row, shape `(rows, 3)`.
        weights: Weight of each category by its number; `None` counts rows equally.

    Returns:
        F1 of the first model, of the second, and second - first.
    """
    cells, counts = distinct(columns)
    rows = int(counts.sum())
    draws = np.random.default_rng(0).multinomial(rows, counts / rows, size=RESAMPLES)
    drawn = np.concatenate([counts[None], draws])
    weighed = drawn * (1.0 if weights is None else weights[cells[:, 0]].astype(np.float64))
    first, second = (weighted_f1(cells, column, weighed) for column in (1, 2))
    tail = (1 - CONFIDENCE) / 2

    def interval(values: NDArray[np.float64]) -> Interval:
        low, high = np.quantile(values[1:], [tail, 1 - tail])
        return Interval(float(values[0]), float(low), float(high))

    return interval(first), interval(second), interval(second - first)


if __name__ == "__main__":
    run_command(main)
