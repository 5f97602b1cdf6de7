"""Gain of the final fit: F1 on the test rows before and after it, by the number of rows.

    make finalfit DATA=folder WEIGHTS=folder WORK=folder

The text model of n-grams and a head on a frozen image network are fitted on parts of the training
rows, as when models are chosen, and again on these and the same parts of the held-out rows, as in
`trainer.pipeline.chosen.final_fit`. Parts are drawn by category and kind of label, several times
each. Prints the mean weighted F1 of the fits on the test rows, and their difference on the same
rows with its 95 % interval. Features of images are kept in WORK.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from tests.bench.commands import run_command
from tests.bench.contexts import training_context
from tests.bench.quality.curves.images import candidate_named
from tests.bench.quality.curves.points import Places, curve_parser, eighths_of, places_of
from trainer.candidates.folds import strata_of
from trainer.candidates.protocols import Labels
from trainer.candidates.text.ngrams import TextNgrams
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.fitting import PARTS
from trainer.pipeline.image_stage import readable_rows
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.intervals import f1_difference, f1_interval

#: Fits on some rows, and returns the columns of its answers to the test rows.
Fit = Callable[[pd.DataFrame], Places]


@dataclass(frozen=True)
class _Learner:
    """Rows by use, `fit`, `held` and `test`, and how a model is fitted on some of them."""

    name: str
    rows: dict[str, pd.DataFrame]
    targets: Places
    fit: Fit


def main() -> int:
    """Print the gain of each model."""
    options = _options()
    eighths = [eighths_of(share) for share in options.shares]
    context = training_context(options.data, options.work, options.weights)
    print("| model | rows: before | after | test F1 before (95 %) | after | difference |")
    print("|---|---:|---:|---:|---:|---:|")
    with threadpool_limits(limits=1, user_api="blas"):
        for learner in (_texts(context), *_images(context, options.candidate)):
            for number in eighths:
                print(_line(context, learner, number, options.seeds), flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = curve_parser(__doc__)
    parser.add_argument("--candidate", default="image_efficientnet_lite0")
    return parser.parse_args()


def _line(context: TrainingContext, learner: _Learner, eighths: int, seeds: int) -> str:
    answers: list[tuple[Places, Places]] = []
    # All rows are the same for each seed.
    for seed in range(1 if eighths == eighths_of(100.0) else seeds):
        parts = [_part(context, learner.rows[name], eighths, seed) for name in ("fit", "held")]
        answers.append((learner.fit(parts[0]), learner.fit(pd.concat(parts))))
    before, after = (np.stack(found) for found in zip(*answers, strict=True))
    cells = [
        learner.name,
        str(len(parts[0])),
        str(len(parts[0]) + len(parts[1])),
        f1_interval(learner.targets, before).text(),
        f1_interval(learner.targets, after).text(),
        f1_difference(learner.targets, after, before).text(signed=True),
    ]
    return f"| {' | '.join(cells)} |"


def _part(context: TrainingContext, rows: pd.DataFrame, eighths: int, seed: int) -> pd.DataFrame:
    strata = strata_of(context.data.targets(rows), is_official(rows))
    return rows.iloc[places_of(strata, eighths, seed)]


def _texts(context: TrainingContext) -> _Learner:
    rows = {name: context.data.part(*parts, text=True) for name, parts in PARTS.items()}
    candidate, tested = TextNgrams(), prepared_texts(rows["test"])

    def fit(learnt: pd.DataFrame) -> Places:
        with tempfile.TemporaryDirectory() as folder:
            path, texts = Path(folder), prepared_texts(learnt)
            candidate.prepare(texts, path, context.fit)
            candidate.fit(texts, context.labels(learnt), path, path, context.fit)
            found: Places = candidate.predict(tested, path).argmax(axis=1)
        return found

    return _Learner(candidate.name, rows, context.data.targets(rows["test"]), fit)


def _images(context: TrainingContext, name: str) -> Sequence[_Learner]:
    candidate = candidate_named(name)
    if reason := candidate.unavailable_reason(context.fit):
        print(f"left out: {name}. {reason}", file=sys.stderr)
        return []
    rows = {use: readable_rows(context, use, parts) for use, parts in PARTS.items()}
    tested = RowImages(rows["test"], context.features, context.log_line)

    def fit(learnt: pd.DataFrame) -> Places:
        images = RowImages(learnt, context.features, context.log_line)
        labels: Labels = context.labels(learnt)
        with tempfile.TemporaryDirectory() as folder:
            candidate.fit(images, labels, Path(folder), context.fit)
            found: Places = candidate.predict(tested, Path(folder)).argmax(axis=1)
        return found

    return [_Learner(name, rows, context.data.targets(rows["test"]), fit)]


if __name__ == "__main__":
    run_command(main)
