"""Scores of an idea, each by a fit without the row that it scores."""

from dataclasses import dataclass

import numpy as np

from tests.bench.quality.combining.ideas import Idea
from tests.bench.quality.combining.scores import Floats, Integers, Scored
from trainer.candidates.folds import out_of_fold


@dataclass(frozen=True)
class Outcome:
    """Scores of an idea.

    Attributes:
        held: Shape `(repeats, rows, classes)`, by fits without the row.
        test: Shape `(1, rows, classes)`, by a fit on all held-out rows.
    """

    held: Floats
    test: Floats

    def official(self, places: Integers) -> Floats:
        """Return the scores of the held-out rows at some places and then of all test rows.

        Returns:
            Shape `(repeats, rows, classes)`.
        """
        test = np.repeat(self.test, len(self.held), axis=0)
        return np.concatenate([self.held[:, places], test], axis=1)


def outcome_of(idea: Idea, scored: Scored, repeats: int) -> Outcome:
    """Cross-validate an idea on the held-out rows, and fit it on all of them for the test rows."""
    held = scored.held

    def score(fit_on: Integers, others: Integers) -> Floats:
        return idea.score(held.take(fit_on), held.take(others))

    return Outcome(
        held=out_of_fold(held.strata, score, seed=0, repeats=repeats),
        test=idea.score(held, scored.test)[None],
    )
