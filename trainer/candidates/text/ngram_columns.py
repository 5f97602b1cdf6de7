"""Which n-grams a linear model reads, and texts as rows of their weights.

A model with all hashed n-grams of many categories would be larger than all its other parts, and
most of its weights decide nothing. Both passes here read the texts in chunks: memory grows with the
n-grams that are kept, not with those that are seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from shared.inference.manifest import Ngrams
from shared.inference.preparation.ngrams import character_ids, counted, word_ids
from trainer.candidates.protocols import Floats, Labels

Ids = NDArray[np.int64]

#: Number of texts whose n-grams are counted at once.
CHUNK = 256


@dataclass(frozen=True)
class Columns:
    """N-grams that a model reads.

    A number of an n-gram is its bucket; those of characters follow those of words.

    Attributes:
        form: How texts are cut into n-grams.
        numbers: Numbers of the n-grams, ascending, shape `(columns,)`.
        idf: Inverse document frequency of each, shape `(columns,)`.
    """

    form: Ngrams
    numbers: Ids
    idf: Floats

    @property
    def slots(self) -> NDArray[np.int32]:
        """Column of each n-gram, counted from 1, by its number; 0 if the model does not read it."""
        slots = np.zeros(2 * self.form.buckets, np.int32)
        slots[self.numbers] = np.arange(1, len(self.numbers) + 1)
        return slots

    def take(self, places: Ids) -> "Columns":
        """Return some of the columns; `places` ascend."""
        return Columns(self.form, self.numbers[places], self.idf[places])

    def rows(self, texts: Sequence[str], values: int | None = None) -> sparse.csr_matrix:
        """Return the weights of the columns, shape `(len(texts), columns)`.

        A weight is the sublinear term frequency times idf (Manning, Raghavan and Schütze,
        "Introduction to Information Retrieval", 2008, sections 6.2 and 6.4). The words of a text
        have length 1, and so have its characters: there are more of these, and they would decide
        alone.

        Args:
            texts: Prepared texts.
            values: Number of weights, if it is known, which halves the memory.
        """
        slots, pieces = self.slots, _Pieces(values)
        for ids, counts in _chunks(texts, self.form):
            columns = slots[ids]
            present = (counts > 0) & (columns > 0)
            column = columns[present] - 1
            weights = (1 + np.log(counts[present])) * self.idf[column]
            pieces.append(present.sum(axis=1), column, weights)
        return self.normalised(pieces.matrix(len(self.numbers)))

    def normalised(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        """Scale the words and the characters of each row to length 1, in place."""
        words = int(np.searchsorted(self.numbers, self.form.buckets))
        halves = 2 * np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        halves += rows.indices >= words
        lengths = np.sqrt(np.bincount(halves, rows.data**2, 2 * rows.shape[0]))
        rows.data /= lengths[halves].astype(np.float32)
        return rows


@dataclass(frozen=True)
class Survey:
    """Occurrences of each n-gram, and how unevenly they fall on the categories.

    Attributes:
        form: How texts are cut into n-grams.
        texts: Number of texts.
        occurrences: Number of texts with each n-gram, shape `(2 * buckets,)`.
        association: Chi-squared statistic of the term frequencies of each n-gram over the
            categories, times its idf, shape `(2 * buckets,)`.
    """

    form: Ngrams
    texts: int
    occurrences: Ids
    association: NDArray[np.float64]

    def columns(self, most: int) -> Columns:
        """Return the n-grams that occur, at most those with the strongest association."""
        found = np.flatnonzero(self.occurrences)
        if len(found) > most:
            strongest = np.argpartition(-self.association[found], most)[:most]
            found = np.sort(found[strongest])
        return Columns(self.form, found, self._idf[found])

    def values(self, columns: Columns) -> int:
        """Return the number of weights of the surveyed texts in some columns."""
        return int(self.occurrences[columns.numbers].sum())

    @property
    def _idf(self) -> Floats:
        return smooth_idf(self.occurrences, self.texts)


def survey(texts: Sequence[str], labels: Labels, form: Ngrams) -> Survey:
    """Count the n-grams of labelled texts."""
    size = 2 * form.buckets
    occurrences, total, squares = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    shares = np.bincount(labels.targets, labels.weights, labels.classes) / labels.weights.sum()
    for category in np.flatnonzero(shares):
        rows = np.flatnonzero(labels.targets == category)
        of_category = np.zeros(size)
        chunks = _chunks([texts[row] for row in rows.tolist()], form)
        for place, (ids, counts) in enumerate(chunks):
            present = counts > 0
            weights = labels.weights[rows[place * CHUNK :][: len(ids)]]
            frequencies = (present * weights[:, None])[present] * (1 + np.log(counts[present]))
            of_category += np.bincount(ids[present], frequencies, size)
            occurrences += np.bincount(ids[present], minlength=size)
        total += of_category
        squares += of_category**2 / shares[category]
    # The sum over the categories of (seen - expected)^2 / expected, with expected = share * total.
    association = squares / np.maximum(total, 1e-12) - total
    return Survey(form, len(texts), occurrences, association * smooth_idf(occurrences, len(texts)))


def smooth_idf(occurrences: Ids, texts: int) -> Floats:
    """Return the inverse document frequencies, as if one more text had every n-gram."""
    idf: Floats = (np.log((1 + texts) / (1 + occurrences)) + 1).astype(np.float32)
    return idf


def _chunks(
    texts: Sequence[str], form: Ngrams
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Yield numbers and counts of the n-grams of some texts, padded with counts of 0."""
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        words, word_counts = counted(chunk, form, word_ids)
        characters, character_counts = counted(chunk, form, character_ids)
        yield (
            np.hstack([words, characters + np.int32(form.buckets)]),
            np.hstack([word_counts, character_counts]),
        )


class _Pieces:
    """A sparse matrix that grows by rows."""

    def __init__(self, values: int | None) -> None:
        self._column = np.empty(values or 0, np.int32)
        self._weight = np.empty(values or 0, np.float32)
        self._ends = [np.zeros(1, np.int64)]
        self._filled = 0

    def append(self, counts: Ids, column: NDArray[np.int32], weights: Floats) -> None:
        end = self._filled + len(column)
        if end > len(self._column):
            larger = max(end, 2 * len(self._column))
            self._column = np.resize(self._column, larger)
            self._weight = np.resize(self._weight, larger)
        self._column[self._filled : end] = column
        self._weight[self._filled : end] = weights
        self._ends.append(self._filled + np.cumsum(counts))
        self._filled = end

    def matrix(self, columns: int) -> sparse.csr_matrix:
        ends = np.concatenate(self._ends)
        parts = (self._weight[: self._filled], self._column[: self._filled], ends)
        return sparse.csr_matrix(parts, shape=(len(ends) - 1, columns))
