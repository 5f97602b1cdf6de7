"""Releases made from the starter release: retrained and rounded ones, and ones with noise."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import scipy.sparse as sparse
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.svm import LinearSVC

from shared.inference.manifest import Ngrams, ReleaseManifest
from shared.inference.preparation.ngrams import Ids, character_ids, counted, word_ids
from shared.inference.preparation.text import product_text
from tests.bench.starter import STARTER
from trainer.datasets.folder import Dataset

Array = NDArray[np.generic]
Arrays = dict[str, Array]

TEXT, IMAGE = "text/model.onnx", "image/head.onnx"
#: Penalty of the n-grams in the starter release, whose table has all buckets.
PENALTY = 0.5
#: Number of texts whose n-grams are counted at once.
AT_ONCE = 256


@dataclass(frozen=True)
class Variant:
    """A release to promote after the starter release.

    Attributes:
        name: Line of the table.
        is_bad: True if it is worse on purpose; `None` if its answers hardly suffer, so that either
            outcome is right.
        write: Writes the release into a folder.
    """

    name: str
    is_bad: bool | None
    write: Callable[[Path], None]


def variants(data: Dataset, good: int) -> Iterator[Variant]:
    """Yield the bad releases, and then as many good ones.

    The fusion trusts the text where the image model is not sure, and noise makes it unsure: that
    release is hardly worse.
    """
    yield Variant("noise in the heads of the text model", True, _noisy(TEXT, 1.0))
    yield Variant("noise in the head of the image model", None, _noisy(IMAGE, 1.0))
    yield Variant("noise in both heads", True, _noisy(TEXT, 1.0, IMAGE))
    yield Variant("categories of the text model shuffled", True, _shuffled)
    retrained = Retraining(data)
    for seed in range(good):
        if seed % 2:
            yield Variant(f"heads rounded anew, seed {seed}", False, _rounded(seed))
        else:
            name = f"n-grams retrained on a resample, seed {seed}"
            yield Variant(name, False, partial(retrained.write, seed=seed))


class Retraining:
    """Fits the n-grams of the text model again on resamples of the training rows."""

    def __init__(self, data: Dataset) -> None:
        rows = data.part("train")
        rows = rows[rows["has_text"]]
        texts = [
            product_text(*row) for row in zip(rows["designation"], rows["description"], strict=True)
        ]
        text = ReleaseManifest.read(STARTER).text
        assert text is not None
        assert text.ngrams is not None
        form = text.ngrams
        self._blocks = [_counts(texts, form, ids_of) for ids_of in (word_ids, character_ids)]
        codes = [one["code"] for one in _manifest()["categories"]]
        self._targets = np.array([codes.index(code) for code in rows["code"]])

    def write(self, folder: Path, seed: int) -> None:
        """Write the starter release with the n-grams of a resample, weights in 8 bits."""
        random = np.random.default_rng(seed)
        drawn = random.choice(len(self._targets), len(self._targets))
        blocks = [block[drawn] for block in self._blocks]
        scales = [TfidfTransformer(sublinear_tf=True).fit(block) for block in blocks]
        inputs = [scale.transform(block) for scale, block in zip(scales, blocks, strict=True)]
        machine = LinearSVC(C=PENALTY, max_iter=300, random_state=seed)
        machine.fit(sparse.hstack(inputs).tocsr(), self._targets[drawn])
        planes = machine.coef_.T.astype(np.float32)
        _copy(folder)
        _change(folder / TEXT, lambda arrays: _with_ngrams(arrays, scales, planes, machine))


def _counts(
    texts: Sequence[str], form: Ngrams, ids_of: Callable[[str, Ngrams], Ids]
) -> sparse.csr_matrix:
    """Count all n-grams of one kind, shape `(len(texts), buckets)`."""
    blocks = []
    for start in range(0, len(texts), AT_ONCE):
        ids, counts = counted(texts[start : start + AT_ONCE], form, ids_of)
        present = counts > 0
        ends = np.concatenate([[0], present.sum(axis=1).cumsum()])
        shape = (len(ids), form.buckets)
        blocks.append(sparse.csr_matrix((counts[present], ids[present], ends), shape=shape))
    return sparse.vstack(blocks).tocsr()


def _with_ngrams(
    arrays: Arrays, scales: list[TfidfTransformer], planes: Array, machine: LinearSVC
) -> Arrays:
    """Replace idf weights, hyperplanes and bias, which the graph has in this order."""
    buckets = len(planes) // 2
    tables = [name for name, one in arrays.items() if one.shape == (buckets, planes.shape[1])]
    vectors = [name for name, one in arrays.items() if one.shape == (buckets,)]
    changed: Arrays = {}
    for place, (table, scale) in enumerate(zip(tables, scales, strict=True)):
        idf, steps = vectors[2 * place : 2 * place + 2]
        rows = np.asarray(planes[place * buckets : (place + 1) * buckets], np.float32)
        step = np.maximum(np.abs(rows).max(axis=1), 1e-9) / 127
        changed[idf] = scale.idf_.astype(np.float32)
        changed[steps] = step.astype(np.float32)
        changed[table] = np.round(rows / step[:, None]).astype(np.int8)
    after = list(arrays)[list(arrays).index(tables[-1]) :]
    bias = next(name for name in after if arrays[name].shape == (planes.shape[1],))
    changed[bias] = machine.intercept_.astype(np.float32)
    return changed


def _noisy(path: str, share: float, *others: str) -> Callable[[Path], None]:
    """Return a writer of a release whose heads are replaced by noise of the same size."""

    def write(folder: Path) -> None:
        _copy(folder)
        random = np.random.default_rng(0)
        for one in (path, *others):
            _change(folder / one, lambda arrays: _noise(arrays, random, share))

    return write


def _noise(arrays: Arrays, random: np.random.Generator, share: float) -> Arrays:
    changed: Arrays = {}
    for name, head in _heads(arrays).items():
        flat = head.reshape(-1).copy()
        places = random.choice(flat.size, int(share * flat.size), replace=False)
        flat[places] = flat[random.permutation(places)]
        changed[name] = flat.reshape(head.shape)
    return changed


def _shuffled(folder: Path) -> None:
    """Write a release whose text model has its categories in another order."""
    _copy(folder)
    order = np.random.default_rng(0).permutation(len(_manifest()["categories"]))
    _change(
        folder / TEXT,
        lambda arrays: {name: head[:, order] for name, head in _heads(arrays).items()},
    )


def _rounded(seed: int) -> Callable[[Path], None]:
    """Return a writer of a release whose heads differ by at most one step of their 8 bits."""

    def write(folder: Path) -> None:
        _copy(folder)
        random = np.random.default_rng(seed)
        for path in (TEXT, IMAGE):
            _change(folder / path, lambda arrays: _steps(arrays, random))

    return write


def _steps(arrays: Arrays, random: np.random.Generator) -> Arrays:
    changed: Arrays = {}
    for name, head in _heads(arrays).items():
        step = random.integers(-1, 2, head.shape, dtype=np.int8)
        # Most weights of n-grams are zero: those that were never seen.
        moved = np.where(head == 0, 0, head.astype(np.int16) + step)
        changed[name] = np.clip(moved, -127, 127).astype(np.int8)
    return changed


def _heads(arrays: Arrays) -> Arrays:
    """Return the 8-bit matrices whose columns are the categories."""
    classes = len(_manifest()["categories"])
    return {
        name: one
        for name, one in arrays.items()
        if one.dtype == np.int8 and one.ndim == 2 and one.shape[1] == classes
    }


def _change(path: Path, act: Callable[[Arrays], Arrays]) -> None:
    model = onnx.load(str(path))
    stored = {one.name: one for one in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(one) for name, one in stored.items()}
    for name, array in act(arrays).items():
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    path.unlink()
    onnx.save(model, str(path))


def _copy(folder: Path) -> None:
    shutil.copytree(STARTER, folder, copy_function=_link)


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target


def _manifest() -> dict[str, list[dict[str, int]]]:
    found: dict[str, list[dict[str, int]]] = json.loads((STARTER / "release.json").read_text())
    return found
