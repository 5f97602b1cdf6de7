"""Counts of hashed word and character n-grams, the input of the linear text model.

The hashing trick of Weinberger et al., "Feature Hashing for Large Scale Multitask Learning"
(2009), without its sign. Everything is arithmetic on whole arrays: some 10,000 texts a second on
one core, where scikit-learn's `HashingVectorizer` walks over every n-gram in Python.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import Ngrams

Codes = NDArray[np.uint64]
Ids = NDArray[np.int32]

_NO_WORD = re.compile(r"\W+")
_SPACE = np.uint64(ord(" "))
# Odd, so that multiplication is invertible modulo 2**64 (Knuth, 6.4; splitmix64).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def word_ids(text: str, form: Ngrams) -> Ids:
    """Return the buckets of all n-grams of 1 to `form.words` words of two letters or more."""
    spaced = _NO_WORD.sub(" ", text).strip()
    if not spaced:
        return np.zeros(0, np.int32)
    codes = _codes(f"{spaced} ")
    ends = np.flatnonzero(codes == _SPACE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    within = np.arange(len(codes)) - np.repeat(starts, lengths + 1)
    powers = np.cumprod(np.full(int(lengths.max()) + 1, _STEP), dtype=np.uint64)
    letters = np.where(codes == _SPACE, np.uint64(0), codes)
    hashes = np.add.reduceat(letters * powers[within], starts)[lengths > 1]
    found, run = [_bucket(hashes, form.buckets)], hashes
    for _ in range(1, form.words):
        if len(run) < 2:
            break
        run = _mixed(run[:-1]) + hashes[len(hashes) - len(run) + 1 :]
        found.append(_bucket(run, form.buckets))
    return np.concatenate(found)


def character_ids(text: str, form: Ngrams) -> Ids:
    """Return the buckets of all character n-grams within words; word edges count as spaces."""
    shortest, longest = form.characters
    codes = _codes(f" {text} ")
    is_space = codes == _SPACE
    run, found = codes, []
    for length in range(2, longest + 1):
        if len(run) < 2:
            break
        run = run[:-1] * _STEP + codes[length - 1 :]
        # A space may begin or end an n-gram, but not occur inside it.
        inside = _any_inside(is_space, length) if length > 2 else is_space[:-1] & is_space[1:]
        if length >= shortest:
            found.append(_bucket(run[~inside] + np.uint64(length), form.buckets))
    return np.concatenate(found) if found else np.zeros(0, np.int32)


def counted(
    texts: Sequence[str], form: Ngrams, ids_of: Callable[[str, Ngrams], Ids]
) -> tuple[Ids, NDArray[np.float32]]:
    """Count the buckets of each text.

    Returns:
        Buckets and how often each occurs, both of shape `(texts, most buckets of a text)`; the
        count is 0 where a text has no more.
    """
    rows = [np.unique(ids_of(text, form), return_counts=True) for text in texts]
    width = max(1, *(len(ids) for ids, _ in rows)) if rows else 1
    ids = np.zeros((len(rows), width), np.int32)
    counts = np.zeros((len(rows), width), np.float32)
    for row, (found, times) in enumerate(rows):
        ids[row, : len(found)] = found
        counts[row, : len(found)] = times
    return ids, counts


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)


def _any_inside(flags: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    inside = flags[1 : len(flags) - length + 2].copy()
    for offset in range(2, length - 1):
        inside |= flags[offset : len(flags) - length + 1 + offset]
    return inside


def _mixed(hashes: Codes) -> Codes:
    # The finaliser of splitmix64: every bit of the input moves every bit of the result.
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _FIRST
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _SECOND
    mixed: Codes = hashes ^ (hashes >> np.uint64(31))
    return mixed


def _bucket(hashes: Codes, buckets: int) -> Ids:
    return (_mixed(hashes) % np.uint64(buckets)).astype(np.int32)
