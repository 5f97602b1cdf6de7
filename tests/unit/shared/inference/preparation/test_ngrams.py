import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.inference.manifest import Ngrams
from shared.inference.preparation.ngrams import character_ids, counted, word_ids

#: So many buckets that two n-grams of a short text practically never share one.
FORM = Ngrams(buckets=2**30, words=2, characters=(2, 5))

WORDS = st.lists(st.text("abcdéü0 1ß日", min_size=1, max_size=8).map(str.strip), max_size=8).map(
    lambda words: " ".join(word for word in " ".join(words).split())
)


def runs_of_characters(text: str) -> set[str]:
    """Return scikit-learn's `char_wb` n-grams without its repeats of short words."""
    return {
        padded[start : start + length]
        for padded in (f" {word} " for word in text.split(" ") if word)
        for length in range(2, 6)
        for start in range(len(padded) - length + 1)
    }


def runs_of_words(text: str) -> set[tuple[str, ...]]:
    words = [word for word in text.split(" ") if len(word) > 1]
    return {(word,) for word in words} | set(itertools.pairwise(words))


@given(WORDS)
def test_every_run_of_characters_has_its_own_bucket(text: str) -> None:
    assert len(np.unique(character_ids(text, FORM))) == len(runs_of_characters(text))


@given(WORDS)
def test_every_run_of_words_has_its_own_bucket(text: str) -> None:
    assert len(np.unique(word_ids(text, FORM))) == len(runs_of_words(text))


@given(WORDS, WORDS)
def test_texts_share_exactly_the_buckets_of_common_runs(one: str, other: str) -> None:
    shared = np.intersect1d(character_ids(one, FORM), character_ids(other, FORM))
    assert len(shared) == len(runs_of_characters(one) & runs_of_characters(other))
    shared = np.intersect1d(word_ids(one, FORM), word_ids(other, FORM))
    assert len(shared) == len(runs_of_words(one) & runs_of_words(other))


@given(st.text(max_size=60))
def test_any_text_stays_within_the_buckets(text: str) -> None:
    small = FORM.model_copy(update={"buckets": 7})
    for ids in (word_ids(text, small), character_ids(text, small)):
        assert ids.dtype == np.int32
        assert ((ids >= 0) & (ids < 7)).all()


def test_punctuation_parts_words() -> None:
    assert word_ids("jeux,video", FORM).tolist() == word_ids("jeux video", FORM).tolist()


def test_buckets_never_change_between_versions() -> None:
    """Releases are trained once and served by later versions of the code."""
    form = Ngrams(buckets=2**17, words=2, characters=(2, 3))
    assert word_ids("jeu video", form).tolist() == [1025, 112099, 127156]
    assert character_ids("né", form).tolist() == [118691, 33180, 10991, 121495, 36726]


def test_counts_are_padded_to_the_text_with_the_most() -> None:
    ids, counts = counted(["", "chat chat chien"], FORM, word_ids)
    assert ids.shape == counts.shape == (2, 4)
    assert sorted(counts[1].tolist()) == [1, 1, 1, 2]
    assert counts[0].sum() == 0


def test_no_texts_make_empty_arrays() -> None:
    ids, counts = counted([], FORM, word_ids)
    assert ids.shape == counts.shape == (0, 1)
