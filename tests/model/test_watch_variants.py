"""Variants of the starter release for `make watch` are what their names promise."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import InvalidInput
from tests.bench.quality.watch.graphs import IMAGE, TEXT, copy_starter
from tests.bench.quality.watch.retraining import Retraining, kept_columns, replace_ngrams
from tests.bench.quality.watch.variants import heads, noisy, rounded, shuffled, shuffled_order
from tests.bench.starter import STARTER
from trainer.candidates.text.linear import Planes
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float32]

FORMS = (
    "{}",
    "{} neuf, livraison rapide",
    "lot de 2 : {}",
    "{} pas cher, grande qualité",
    "new {}",
)


@pytest.fixture(scope="module")
def starter() -> LoadedRelease:
    return LoadedRelease.load(STARTER)


@pytest.fixture(scope="module")
def texts(starter: LoadedRelease) -> list[str]:
    names = [category.name for category in starter.manifest.categories]
    return [form.format(name) for form in FORMS for name in names]


@pytest.fixture(scope="module")
def answers(starter: LoadedRelease, texts: list[str]) -> Floats:
    return scores(starter, texts)


def scores(release: LoadedRelease, texts: list[str]) -> Floats:
    assert release.text is not None
    return release.text.score(texts)


def written(write: Callable[[Path], None], folder: Path, texts: list[str]) -> Floats:
    write(folder / "variant")
    return scores(LoadedRelease.load(folder / "variant"), texts)


def same(one: Floats, other: Floats) -> float:
    return float((one.argmax(axis=1) == other.argmax(axis=1)).mean())


def test_rounded_release_answers_nearly_like_the_starter_release(
    tmp_path: Path, texts: list[str], answers: Floats
) -> None:
    found = written(partial(rounded, seed=1), tmp_path, texts)

    assert same(found, answers) >= 0.9
    assert not np.array_equal(found, answers)


def test_retrained_release_answers_mostly_like_the_starter_release(
    tmp_path: Path, texts: list[str], answers: Floats
) -> None:
    # Copies, so that a resample misses no text.
    retraining = Retraining(texts * 6, np.tile(answers.argmax(axis=1), 6))

    found = written(partial(retraining.write, seed=1), tmp_path, texts)

    assert same(found, answers) >= 0.8
    assert not np.array_equal(found, answers)


def test_noisy_release_answers_unlike_the_starter_release(
    tmp_path: Path, texts: list[str], answers: Floats
) -> None:
    found = written(partial(noisy, paths=[TEXT, IMAGE]), tmp_path, texts)

    assert same(found, answers) <= 0.3


def test_shuffled_release_has_the_same_answers_in_other_columns(
    tmp_path: Path, texts: list[str], answers: Floats
) -> None:
    found = written(shuffled, tmp_path, texts)

    np.testing.assert_allclose(found, answers[:, shuffled_order()], atol=1e-5)
    assert same(found, answers) <= 0.3


def test_model_of_another_form_is_refused(tmp_path: Path, starter: LoadedRelease) -> None:
    part = starter.manifest.text
    assert part is not None
    assert part.ngrams is not None
    columns = kept_columns(part.ngrams)
    classes = len(starter.manifest.categories)
    planes = Planes(
        np.ones((len(columns.numbers), classes), np.float32), np.zeros(classes, np.float32)
    )
    copy_starter(tmp_path / "variant")

    with pytest.raises(InvalidInput, match=r"begins with n-grams as the trainer exports them"):
        replace_ngrams(tmp_path / "variant" / IMAGE, columns, planes)
    with pytest.raises(InvalidInput, match=r"Expected 2 heads .* shapes \[\(384, 27\)\]"):
        heads({"head": np.zeros((384, 27), np.int8)}, TEXT)
