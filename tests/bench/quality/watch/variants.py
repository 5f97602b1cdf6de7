"""Releases made from the starter release: retrained and rounded ones, and ones with noise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from tests.bench.quality.watch.graphs import IMAGE, TEXT, Arrays, change, copy_starter
from tests.bench.quality.watch.retraining import Retraining
from tests.bench.starter import STARTER
from trainer.datasets.folder import Dataset
from trainer.pipeline.text.stage import prepared_texts

#: Models whose heads are changed in the starter release, in the order of their graphs.
HEADS = {TEXT: ("n-grams", "transformer"), IMAGE: ("image network",)}


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
    """Yield the bad releases, and then as many good ones."""
    yield from bad_variants()
    retrained = _retraining(data)
    for seed in range(good):
        if seed % 2:
            yield Variant(f"heads rounded anew, seed {seed}", False, partial(rounded, seed=seed))
        else:
            name = f"n-grams retrained on a resample, seed {seed}"
            yield Variant(name, False, partial(retrained.write, seed=seed))


def bad_variants() -> Iterator[Variant]:
    """Yield the bad releases.

    The fusion trusts the text where the image model is not sure, and noise makes it unsure: that
    release is hardly worse.
    """
    yield Variant("noise in the heads of the text model", True, partial(noisy, paths=[TEXT]))
    yield Variant("noise in the head of the image model", None, partial(noisy, paths=[IMAGE]))
    yield Variant("noise in both heads", True, partial(noisy, paths=[TEXT, IMAGE]))
    yield Variant("categories of the text model shuffled", True, shuffled)


def noisy(folder: Path, paths: Sequence[str]) -> None:
    """Write a release whose heads in some models are replaced by noise of the same size."""
    copy_starter(folder)
    random = np.random.default_rng(0)
    for path in paths:
        _change_heads(folder, path, lambda before: _noise(before, random))


def shuffled(folder: Path) -> None:
    """Write a release whose text model has its categories in another order."""
    copy_starter(folder)
    order = shuffled_order()

    def act(arrays: Arrays) -> Arrays:
        # Steps, biases and weights of the pool move with the heads.
        moved = heads(arrays, TEXT) | _by_category(arrays)
        return {name: one[..., order] for name, one in moved.items()}

    change(folder / TEXT, act)


def shuffled_order() -> NDArray[np.int64]:
    """Return the category in each column of the model with shuffled categories."""
    return np.random.default_rng(0).permutation(len(_codes()))


def rounded(folder: Path, seed: int) -> None:
    """Write a release whose heads differ by at most one step of their 8 bits."""
    copy_starter(folder)
    random = np.random.default_rng(seed)
    for path in HEADS:
        _change_heads(folder, path, lambda before: _steps(before, random))


def heads(arrays: Arrays, path: str) -> Arrays:
    """Return the 8-bit matrices whose columns are the categories.

    Raises:
        InvalidInput: The model has another number of them.
    """
    found = {
        name: one
        for name, one in _by_category(arrays).items()
        if one.dtype == np.int8 and one.ndim == 2
    }
    if len(found) != len(HEADS[path]):
        raise InvalidInput(
            f"Expected {len(HEADS[path])} heads with weights in 8 bits in {STARTER / path}, of: "
            f"{', '.join(HEADS[path])}. Received: matrices of the shapes "
            f"{[one.shape for one in found.values()]}"
        )
    return found


def _retraining(data: Dataset) -> Retraining:
    rows = data.part("train", "weak")
    rows = rows[rows["has_text"]]
    codes = _codes()
    targets = np.array([codes.index(code) for code in rows["code"]], np.int64)
    return Retraining(prepared_texts(rows), targets)


def _change_heads(folder: Path, path: str, act: Callable[[Arrays], Arrays]) -> None:
    change(folder / path, lambda arrays: act(heads(arrays, path)))


def _noise(before: Arrays, random: np.random.Generator) -> Arrays:
    return {
        name: head.reshape(-1)[random.permutation(head.size)].reshape(head.shape)
        for name, head in before.items()
    }


def _steps(before: Arrays, random: np.random.Generator) -> Arrays:
    changed: Arrays = {}
    for name, head in before.items():
        step = random.integers(-1, 2, head.shape, dtype=np.int8)
        # The row of n-grams that the model does not read is zero.
        moved = np.where(head == 0, 0, head.astype(np.int16) + step)
        changed[name] = np.clip(moved, -127, 127).astype(np.int8)
    return changed


def _by_category(arrays: Arrays) -> Arrays:
    """Return the arrays whose last axis is the categories: heads, and their steps and biases."""
    classes = len(_codes())
    return {name: one for name, one in arrays.items() if one.shape[-1:] == (classes,)}


def _codes() -> list[int]:
    return [one.code for one in ReleaseManifest.read(STARTER).categories]
