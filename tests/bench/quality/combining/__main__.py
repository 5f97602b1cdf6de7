"""Compare ways to combine models on the scores of the starter release.

    python -m tests.bench.quality.combining --data ../shared/data/rakuten

Two tables: the models that the text model pools, and text with image on products that have both.
Each idea is tuned on held-out rows. "Cross-validated" figures are of the same rows by fits without
the row; whatever an idea tunes by itself, it tunes within the fit. Figures on `test` are of rows
that nothing was fitted or tuned on. Differences are paired, with 95 % intervals by the bootstrap;
those to the reference, the first line, are what an idea brings. No model is fitted again: the
scores of the starter release are computed once, which takes minutes, and kept.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.quality.combining.ideas import Idea, pair_ideas, text_ideas
from tests.bench.quality.combining.outcomes import Outcome, outcome_of
from tests.bench.quality.combining.scores import (
    Integers,
    Rows,
    Scored,
    pair_scores,
    text_scores,
)
from trainer.candidates.folds import REPEATS
from trainer.datasets.loading import load
from trainer.pipeline.leaderboard import Contrast
from trainer.pipeline.selection import contrast, losses
from trainer.release.intervals import f1_interval

KEPT = Path("var/combining")


def main() -> int:
    """Print both tables."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--scores", type=Path, default=KEPT, help="folder of the kept scores")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of the cross-validation")
    parser.add_argument("--weak", type=int, help="most weakly labelled rows with an image")
    parser.add_argument("--only", default="", help="pattern of the ideas' names")
    options = parser.parse_args()
    data = load(options.data)
    # All products of matrices are small here, see `trainer.candidates.shrunken_pool`.
    with threadpool_limits(limits=1, user_api="blas"):
        texts = text_scores(data, options.scores)
        print("\nText models")
        _print_table(texts, text_ideas(texts.names), options)
        print("\nText with image, on rows with both")
        _print_table(pair_scores(data, options.scores, options.weak), pair_ideas(), options)
    return 0


def _print_table(scored: Scored, ideas: Sequence[Idea], options: argparse.Namespace) -> None:
    held, test = scored.held, scored.test
    official = np.flatnonzero(held.is_official)
    print(
        f"{len(held.targets)} held-out rows, {len(official)} of them officially labelled; "
        f"{len(test.targets)} test rows"
    )
    print(f"At least one model is right, beside the first alone: {_reach(held, test, official)}\n")
    print(
        "| idea | cross-validated F1 | log loss | F1 - reference | log loss - reference "
        "| official F1 | F1 - reference | log loss - reference | beyond chance? |\n"
        "|---|" + "---:|" * 7 + "---|"
    )
    reference: Outcome | None = None
    for idea in [ideas[0], *(one for one in ideas[1:] if re.search(options.only, one.name))]:
        outcome = outcome_of(idea, scored, options.repeats)
        reference = reference or outcome
        print(_line(idea.name, outcome, reference, held, test, official), flush=True)


def _reach(held: Rows, test: Rows, official: Integers) -> str:
    """Return what an idea that always took the right model's answer would reach."""

    def right(rows: Rows) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = rows.inputs.argmax(axis=2) == rows.targets
        return found

    parts = {
        "held-out rows": right(held),
        "official rows": np.concatenate([right(held)[:, official], right(test)], axis=1),
    }
    return "; ".join(
        f"{one.any(axis=0).mean():.1%} and {one[0].mean():.1%} of {name}"
        for name, one in parts.items()
    )


def _line(
    name: str, outcome: Outcome, reference: Outcome, held: Rows, test: Rows, official: Integers
) -> str:
    crossed = contrast(outcome.held, reference.held, held.targets)
    # Officially labelled rows: the held-out ones by fits without the row, and those of `test`.
    scores, others = (one.official(official) for one in (outcome, reference))
    targets = np.concatenate([held.targets[official], test.targets])
    real = contrast(scores, others, targets)
    cells = [
        f1_interval(held.targets, outcome.held.argmax(axis=2)).text(),
        f"{losses(outcome.held, held.targets).mean():.3f}",
        *_differences(crossed),
        f1_interval(targets, scores.argmax(axis=2)).text(),
        *_differences(real),
        real.beyond_chance if outcome is not reference else "reference",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _differences(found: Contrast) -> list[str]:
    return [one.text(signed=True) for one in (found.f1, found.log_loss)]


if __name__ == "__main__":
    run_command(main)
