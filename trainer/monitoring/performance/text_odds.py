"""Odds that a text is of today rather than of before a change.

A logistic regression on the words of the texts separates a sample of a day's products from products
that were answered before the change. Its odds with equally weighted samples are how much likelier a
product is now than before (Bickel, Brückner and Scheffer, "Discriminative Learning Under Covariate
Shift", 2009). Each text is scored by a model that was fitted without it: the words of a fitted text
are evidence of the day by definition.

scikit-learn is imported with the first fit, as in `trainer.monitoring.two_samples`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shared.inference.preparation.text import product_text
from shared.skipping import skipping

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
#: Title and description.
Product = tuple[str, str]

#: Products of either side that are compared, at most; with fewer than the least there are no odds.
MOST_COMPARED, LEAST_COMPARED = 2_000, 100
#: Odds are between one over this and this, so that neither kind of product crowds out the other.
MOST_ODDS = 10.0
#: Characters of a text that count, columns of the hashed words, and inverse of the L2 penalty.
CHARACTERS, COLUMNS, LOOSENESS = 1_000, 2**16, 10.0
FOLDS = 5
#: Name of the loop over answers in the metrics and the logs.
LOOP = "reviews"


@dataclass(frozen=True)
class TextOdds:
    """Odds of texts, by models that separate two samples."""

    weights: Any
    models: Sequence[Any]

    @classmethod
    def fit(
        cls, before: Sequence[Product], ids: Sequence[str], today: Sequence[Product]
    ) -> "TextOdds":
        """Fit models that separate two samples, on one thread.

        Args:
            before: Products of before the change, at least one.
            ids: Ids of products of today, of all folds.
            today: These products.
        """
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        counted = _counted([*([""] * len(before)), *ids], [*before, *today])
        weights = TfidfTransformer(sublinear_tf=True).fit(counted)
        rows = weights.transform(counted)
        is_today = np.repeat([0, 1], [len(before), len(today)])
        fold = np.concatenate([np.arange(len(before)) % FOLDS, _folds(ids)])
        models = []
        # The products are small: several threads would only wait for each other.
        with threadpool_limits(limits=1, user_api="blas"):
            for number in range(FOLDS):
                model = LogisticRegression(C=LOOSENESS, class_weight="balanced", max_iter=200)
                models.append(model.fit(rows[fold != number], is_today[fold != number]))
        return cls(weights, models)

    def of(self, ids: Sequence[str], products: Sequence[Product]) -> Floats:
        """Return the odds of products, 1 for those without a text, shape `(products,)`."""
        counted, folds = _counted(ids, products), _folds(ids)
        rows = self.weights.transform(counted)
        odds = np.ones(len(ids))
        for number, model in enumerate(self.models):
            chosen = (folds == number) & (counted.getnnz(axis=1) > 0)
            if chosen.any():
                odds[chosen] = np.exp(model.decision_function(rows[chosen]))
        return np.clip(odds, 1 / MOST_ODDS, MOST_ODDS)


def _counted(ids: Sequence[str], products: Sequence[Product]) -> Any:
    """Return how often hashed words occur, a sparse matrix of shape `(products, COLUMNS)`."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=COLUMNS, alternate_sign=False, norm=None)
    return hashing.transform(_text(*pair) for pair in zip(ids, products, strict=True))


def _text(id_: str, product: Product) -> str:
    """Return the text as the models read it; one that raises an error counts as empty."""
    with skipping(LOOP, id_):
        return product_text(*product)[:CHARACTERS]
    return ""


def _folds(ids: Sequence[str]) -> Counts:
    return np.array([crc32(id_.encode()) % FOLDS for id_ in ids], np.int64)
