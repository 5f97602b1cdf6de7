"""Finds the frequent and the distinctive words of each category."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

#: Words of two letters or more; numbers are mostly sizes and prices.
WORD = r"[^\W\d_]{2,}"
#: Number of most frequent words examined; the others occur in a handful of products each.
VOCABULARY = 30_000
#: A word is common if the median category has it in at least this share of its products.
COMMON_SHARE = 0.05
#: Weight of the prior in words; Monroe et al. use the average length of a text.
PRIOR_WORDS = 500.0


@dataclass(frozen=True)
class WordCounts:
    """Number of products with a word, by category.

    Attributes:
        codes: Codes of the categories, sorted.
        words: Vocabulary.
        products: Products of a category with a word, shape `(categories, words)`.
        sizes: Products of each category, shape `(categories,)`.
    """

    codes: tuple[int, ...]
    words: NDArray[np.str_]
    products: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def is_common(self) -> NDArray[np.bool_]:
        """Mask of words that are frequent in most categories, e.g. articles; shape `(words,)`."""
        if not self.codes:
            return np.zeros(len(self.words), dtype=bool)
        share = self.products / np.maximum(self.sizes, 1)[:, None]
        mask: NDArray[np.bool_] = np.median(share, axis=0) >= COMMON_SHARE
        return mask


def count_words(texts: Sequence[str], codes: Sequence[int]) -> WordCounts:
    """Count the products of each category that contain a word.

    Args:
        texts: Prepared text of each product.
        codes: Category of each product.
    """
    known, place = np.unique(np.asarray(codes, dtype=np.int64), return_inverse=True)
    counter = CountVectorizer(
        token_pattern=WORD, lowercase=False, binary=True, max_features=VOCABULARY, dtype=np.int64
    )
    try:
        has = counter.fit_transform(texts)
    except ValueError:
        # scikit-learn raises if the texts contain no word at all.
        empty = np.zeros((len(known), 0), np.int64)
        return WordCounts((), np.array([], dtype=str), empty, np.bincount(place))
    products = np.stack(
        [np.asarray(has[place == row].sum(axis=0)).ravel() for row in range(len(known))]
    )
    return WordCounts(
        tuple(known.tolist()),
        counter.get_feature_names_out(),
        products,
        np.bincount(place, minlength=len(known)),
    )


def frequent(counts: WordCounts, most: int = 10) -> pd.DataFrame:
    """Return the words that most products of a category contain, except common words."""
    scores = np.where(counts.is_common, -1, counts.products)
    return _best(counts, scores.astype(np.float64), most, least=0.0)


def distinctive(counts: WordCounts, most: int = 10) -> pd.DataFrame:
    """Return the words that distinguish a category from all others, highest score first."""
    return _best(counts, log_odds(counts.products), most, least=1.96)


def common_words(counts: WordCounts, most: int = 40) -> list[str]:
    """Return the common words, most frequent first."""
    common = np.flatnonzero(counts.is_common)
    order = np.argsort(-counts.products.sum(axis=0)[common], kind="stable")
    return [str(word) for word in counts.words[common[order]][:most]]


def log_odds(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score how much more frequent a word is in one category than in the others.

    The score is the log-odds ratio, in standard deviations, with an informative Dirichlet prior;
    Monroe, Colaresi and Quinn, "Fightin' Words", Political Analysis 16(4), 2008, equations 16, 19
    and 22. The prior is the frequency of the word in all categories, so rare words need strong
    evidence.

    Args:
        counts: Products of a category with a word, shape `(categories, words)`.

    Returns:
        z-scores, shape `(categories, words)`.
    """
    here = counts.astype(np.float64)
    of_word, of_category = here.sum(axis=0), here.sum(axis=1, keepdims=True)
    everything = of_word.sum()
    prior = PRIOR_WORDS * of_word / max(everything, 1.0)
    there = of_word - here
    # Avoids a division by zero if the vocabulary has a single word.
    other_here = np.maximum(of_category + PRIOR_WORDS - here - prior, 1.0)
    other_there = np.maximum(everything - of_category + PRIOR_WORDS - there - prior, 1.0)
    odds_here, odds_there = (here + prior) / other_here, (there + prior) / other_there
    deviation = np.sqrt(1.0 / (here + prior) + 1.0 / (there + prior))
    scores: NDArray[np.float64] = (np.log(odds_here) - np.log(odds_there)) / deviation
    return scores


def _best(
    counts: WordCounts, scores: NDArray[np.float64], most: int, *, least: float
) -> pd.DataFrame:
    """Return the words with the highest scores above `least`, one line each, by category."""
    lines = []
    for place, code in enumerate(counts.codes):
        order = np.argsort(-scores[place], kind="stable")[:most]
        lines += [
            (code, str(counts.words[word]), counts.products[place, word], counts.sizes[place])
            for word in order
            if scores[place, word] > least
        ]
    table = pd.DataFrame(lines, columns=["code", "word", "products", "of"])
    table["share"] = table["products"] / table["of"]
    return table.drop(columns="of")
