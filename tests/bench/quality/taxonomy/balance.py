"""Class-balanced weights on the made-up shop: n-grams fitted with several strengths."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shared.categories import CategorySet
from tests.bench.quality.taxonomy.figures import TreeF1, tree_f1
from tests.bench.quality.taxonomy.shop import Leaf, truth_of
from trainer.candidates.text.ngrams import TextNgrams
from trainer.datasets.folder import Dataset
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.steps import Steps
from trainer.pipeline.text.stage import prepared_texts

#: Strengths: none, from weak to strong, the last nearly the inverse frequency.
BALANCES = (0.0, 0.9, 0.99, 0.9999)


class _Silent:
    def log_line(self, line: str) -> None:
        """Drop a line."""

    def curve(self, name: str, step: int, value: float) -> None:
        """Drop a point."""


def balanced(
    first: pd.DataFrame, test: pd.DataFrame, leaves: Sequence[Leaf]
) -> Iterator[tuple[float, TreeF1]]:
    """Yield each strength with the F1 of the n-grams that it makes.

    Args:
        first: Rows to learn from, all of them.
        test: Rows to measure on.
        leaves: The categories of both.
    """
    candidate = TextNgrams()
    texts, tested = prepared_texts(first), prepared_texts(test)
    for strength in BALANCES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            context = context_of(first, leaves, folder, strength)
            labels = context.labels(context.data.rows)
            candidate.fit(texts, labels, folder, folder, context.fit)
            columns = candidate.predict(tested, folder).argmax(axis=1)
        answers = np.array(context.data.categories.codes, np.int64)[columns]
        yield strength, tree_f1(truth_of(test), answers, leaves)


def context_of(
    first: pd.DataFrame, leaves: Sequence[Leaf], work: Path, strength: float = 0.0
) -> TrainingContext:
    """Return a context that fits on all rows, with a strength of the class balance."""
    rows = first.assign(part="train", image="", has_text=True)
    categories = CategorySet.of(((leaf.code, leaf.name) for leaf in leaves), ">")
    settings = replace(TrainingSettings(work=work), class_balance=strength)
    data = Dataset(rows, categories, {}, stored_fingerprint="shop")
    return TrainingContext(settings, data, Steps(work, total=1), _Silent())
