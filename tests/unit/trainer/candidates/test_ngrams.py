"""N-grams that a model reads, and the linear classifiers on them."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.feature_selection import chi2
from sklearn.preprocessing import normalize

from shared.inference.manifest import Ngrams
from shared.inference.preparation.ngrams import character_ids, counted, word_ids
from trainer.candidates.protocols import FitContext, Labels
from trainer.candidates.text import linear
from trainer.candidates.text.linear import SoftmaxSettings, fit_machine, fit_softmax
from trainer.candidates.text.ngram_columns import CHUNK, Columns, survey
from trainer.candidates.text.ngrams import FILE, NgramSettings, TextNgrams

FORM = Ngrams(buckets=512, words=2, characters=(2, 4))
WORDS = (
    "piscine gonflable ronde pompe filtre eau",
    "console jeu vidéo manette ps4 disque",
    "livre roman poche auteur chapitre histoire",
)
CONTEXT = FitContext(0, None, "int8", lambda _: None, lambda *_: None)


def products(rows: int, classes: int = 3) -> tuple[list[str], Labels]:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, len(WORDS), rows)
    texts = [
        " ".join(generator.choice(WORDS[target].split(), generator.integers(2, 9)))
        for target in targets
    ]
    return texts, Labels(targets, np.ones(rows, np.float32), classes)


def counts_of(texts: list[str]) -> sparse.csr_matrix:
    """Count all n-grams, text by text."""
    counts = np.zeros((len(texts), 2 * FORM.buckets))
    for row, text in enumerate(texts):
        for offset, ids_of in ((0, word_ids), (FORM.buckets, character_ids)):
            ids, found = counted([text], FORM, ids_of)
            np.add.at(counts[row], ids[0] + offset, found[0])
    return sparse.csr_matrix(counts)


def test_rows_are_those_of_scikit_learn() -> None:
    texts, labels = products(CHUNK + 40)
    counts = counts_of(texts)
    found = survey(texts, labels, FORM)
    columns = found.columns(most=10_000)
    assert columns.numbers.tolist() == np.flatnonzero(counts.getnnz(axis=0)).tolist()
    halves = (counts[:, : FORM.buckets], counts[:, FORM.buckets :])
    weighted = [TfidfTransformer(sublinear_tf=True).fit_transform(half) for half in halves]
    expected = sparse.hstack(weighted).tocsr()[:, columns.numbers]
    rows = columns.rows([*texts, ""], found.values(columns))
    np.testing.assert_allclose(rows[:-1].toarray(), expected.toarray(), atol=1e-5)
    assert rows[-1].nnz == 0
    assert rows.nnz == found.values(columns)


def test_unknown_number_of_weights_gives_the_same_rows() -> None:
    texts, labels = products(CHUNK + 40)
    found = survey(texts, labels, FORM)
    columns = found.columns(most=100)
    rows = columns.rows(texts)
    assert (rows != columns.rows(texts, found.values(columns))).nnz == 0


def test_strongest_n_grams_are_kept() -> None:
    texts, labels = products(200)
    counts = counts_of(texts)
    counts.data = 1 + np.log(counts.data)
    idf = TfidfTransformer().fit(counts).idf_
    found = survey(texts, labels, FORM)
    seen = found.occurrences > 0
    expected, _ = chi2(counts, labels.targets)
    np.testing.assert_allclose(found.association[seen], (expected * idf)[seen], rtol=1e-4)
    kept = found.columns(most=20).numbers
    assert len(kept) == 20
    weakest = (expected * idf)[kept].min()
    assert ((expected * idf)[seen] > weakest * 1.001).sum() < 20


def test_weights_of_rows_count_in_the_association() -> None:
    texts, labels = products(60)
    weights = np.where(np.arange(60) < 30, 1.0, 0.0).astype(np.float32)
    found = survey(texts, Labels(labels.targets, weights, 3), FORM)
    half = survey(texts[:30], labels.take(np.arange(30)), FORM)
    scale = found.association[half.association > 0] / half.association[half.association > 0]
    idf = np.log(61 / (1 + found.occurrences)) - np.log(31 / (1 + half.occurrences))
    assert np.isfinite(scale).all()
    assert np.corrcoef(scale, idf[half.association > 0])[0, 1] > 0.5


def test_words_and_characters_of_a_row_are_scaled_to_length_one() -> None:
    rows = sparse.random(50, 30, 0.1, "csr", np.float32, random_state=0)
    numbers = np.r_[0:12, FORM.buckets : FORM.buckets + 18]
    columns = Columns(FORM, numbers, np.ones(30, np.float32))
    found = columns.normalised(rows.copy()).toarray()
    np.testing.assert_allclose(found[:, :12], normalize(rows[:, :12]).toarray(), atol=1e-6)
    np.testing.assert_allclose(found[:, 12:], normalize(rows[:, 12:]).toarray(), atol=1e-6)


@pytest.mark.parametrize("classifier", ["machine", "softmax"])
@pytest.mark.parametrize("classes", [2, 5])
def test_classifiers_learn_and_never_predict_an_absent_category(
    classifier: str, classes: int
) -> None:
    texts, labels = products(300)
    targets = np.minimum(labels.targets, 1) if classes == 2 else labels.targets
    labels = Labels(targets, labels.weights, classes)
    rows = survey(texts, labels, FORM).columns(most=10_000).rows(texts)
    if classifier == "machine":
        planes = fit_machine(rows, labels, 1.0, 300, seed=0)
    else:
        planes = fit_softmax(rows, labels, SoftmaxSettings(rows=32), CONTEXT)
    scores = rows @ planes.weights + planes.bias
    assert scores.shape == (300, classes)
    assert (scores.argmax(axis=1) == targets).mean() > 0.95
    assert scores[:, 3:].max(initial=-100) <= -100


def test_softmax_heeds_the_weights_of_rows() -> None:
    rows = sparse.csr_matrix(np.ones((40, 1), np.float32))
    targets = np.arange(40) % 2
    weights = np.where(targets == 0, 1.0, 0.1).astype(np.float32)
    settings = SoftmaxSettings(epochs=40, rows=8)
    planes = fit_softmax(rows, Labels(targets, weights, 2), settings, CONTEXT)
    scores = planes.weights[0] + planes.bias
    odds = np.exp(scores[0] - scores[1])
    assert odds == pytest.approx(10, rel=0.3)


def test_large_data_takes_the_softmax_and_fewer_n_grams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "MOST_STEPS_OF_A_MACHINE", 1_000)
    texts, labels = products(300)
    lines: list[str] = []
    context = FitContext(0, None, "int8", lines.append, lambda *_: None)
    candidate = TextNgrams(NgramSettings(form=FORM, weights=240))
    candidate.fit(texts, labels, tmp_path, tmp_path, context)
    with np.load(tmp_path / FILE) as kept:
        assert kept["planes"].shape == (80, 3)
    assert any(line.startswith("softmax, epoch 4") for line in lines)
    scores = candidate.predict(texts, tmp_path)
    assert (scores.argmax(axis=1) == labels.targets).mean() > 0.95


def test_lightest_n_grams_are_dropped_and_the_rest_fitted_again(tmp_path: Path) -> None:
    texts, labels = products(300)
    candidate = TextNgrams(NgramSettings(form=FORM, columns=40))
    candidate.fit(texts, labels, tmp_path, tmp_path, CONTEXT)
    with np.load(tmp_path / FILE) as kept:
        assert kept["planes"].shape == (40, 3)
        assert (np.diff(kept["numbers"]) > 0).all()
    scores = candidate.predict([*texts, ""], tmp_path)
    assert (scores[:-1].argmax(axis=1) == labels.targets).mean() > 0.95
