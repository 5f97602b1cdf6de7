"""Which words are frequent in a category, and which tell it from the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

#: Words of two letters or more; numbers are sizes and prices, and say little.
WORD = r"[^\W\d_]{2,}"
#: The most frequent words are looked at; the others are in a handful of products each.
VOCABULARY = 30_000
#: Words that as large a share of the products of an average category has are everyday words.
EVERYDAY_SHARE = 0.05
#: Weight of the prior, in words; Monroe et al. use as many as a text has on average.
PRIOR_WORDS = 500.0


@dataclass(frozen=True)
class WordCounts:
    """How many products of each category have a word.

    Attributes:
        codes: Of the categories, sorted.
        words: The vocabulary.
        products: Shape `(categories, words)`.
        sizes: Products of each category, shape `(categories,)`.
    """

    codes: tuple[int, ...]
    words: NDArray[np.str_]
    products: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def is_everyday(self) -> NDArray[np.bool_]:
        """Which words are about as frequent everywhere, such as articles; shape `(words,)`."""
        if not self.codes:
            return np.zeros(len(self.words), dtype=bool)
        share = self.products / np.maximum(self.sizes, 1)[:, None]
        everyday: NDArray[np.bool_] = np.median(share, axis=0) >= EVERYDAY_SHARE
        return everyday


def count_words(texts: Sequence[str], codes: Sequence[int]) -> WordCounts:
    """Count in how many products of each category a word is; once in a product is enough.

    Args:
        texts: Prepared, one of each product.
        codes: The category of each.
    """
    known, place = np.unique(np.asarray(codes, dtype=np.int64), return_inverse=True)
    counter = CountVectorizer(
        token_pattern=WORD, lowercase=False, binary=True, max_features=VOCABULARY, dtype=np.int64
    )
    try:
        has = counter.fit_transform(texts)
    except ValueError:
        # There is not a single word.
        nothing = np.zeros((len(known), 0), np.int64)
        return WordCounts((), np.array([], dtype=str), nothing, np.bincount(place))
    products = np.stack(
        [np.asarray(has[place == one].sum(axis=0)).ravel() for one in range(len(known))]
    )
    return WordCounts(
        tuple(known.tolist()),
        counter.get_feature_names_out(),
        products,
        np.bincount(place, minlength=len(known)),
    )


def frequent(counts: WordCounts, most: int = 10) -> pd.DataFrame:
    """The words that most products of a category have, everyday words left out."""
    told = np.where(counts.is_everyday, -1, counts.products)
    return _best(counts, told.astype(np.float64), most, least=0.0)


def distinctive(counts: WordCounts, most: int = 10) -> pd.DataFrame:
    """The words that tell a category from all others, the clearest first."""
    return _best(counts, log_odds(counts.products), most, least=1.96)


def everyday(counts: WordCounts, most: int = 40) -> list[str]:
    """The words that are everywhere, most frequent first."""
    everywhere = np.flatnonzero(counts.is_everyday)
    order = np.argsort(-counts.products.sum(axis=0)[everywhere], kind="stable")
    return [str(word) for word in counts.words[everywhere[order]][:most]]


def log_odds(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much more often a word is in one category than in the others, in standard deviations.

    The log-odds ratio with an informative Dirichlet prior; Monroe, Colaresi and Quinn, "Fightin'
    Words", Political Analysis 16(4), 2008, equations 16, 19 and 22. The prior is the frequency of
    the word in all categories, so a rare word has to earn its place.

    Args:
        counts: Shape `(categories, words)`.

    Returns:
        z-scores, shape `(categories, words)`.
    """
    here = counts.astype(np.float64)
    of_word, of_category = here.sum(axis=0), here.sum(axis=1, keepdims=True)
    everything = of_word.sum()
    prior = PRIOR_WORDS * of_word / max(everything, 1.0)
    there = of_word - here
    # A vocabulary of one word leaves nothing to compare it with.
    other_here = np.maximum(of_category + PRIOR_WORDS - here - prior, 1.0)
    other_there = np.maximum(everything - of_category + PRIOR_WORDS - there - prior, 1.0)
    odds_here, odds_there = (here + prior) / other_here, (there + prior) / other_there
    deviation = np.sqrt(1.0 / (here + prior) + 1.0 / (there + prior))
    scores: NDArray[np.float64] = (np.log(odds_here) - np.log(odds_there)) / deviation
    return scores


def _best(
    counts: WordCounts, scores: NDArray[np.float64], most: int, *, least: float
) -> pd.DataFrame:
    """Line by line the words with the highest scores above `least`, by category."""
    lines = []
    for place, code in enumerate(counts.codes):
        order = np.argsort(-scores[place], kind="stable")[:most]
        lines += [
            (code, str(counts.words[one]), counts.products[place, one], counts.sizes[place])
            for one in order
            if scores[place, one] > least
        ]
    table = pd.DataFrame(lines, columns=["code", "word", "products", "of"])
    table["share"] = table["products"] / table["of"]
    return table.drop(columns="of")
