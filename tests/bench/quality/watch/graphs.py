"""Copies of the starter release, and changes of the arrays in their models."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from shared.errors import InvalidInput
from tests.bench.starter import STARTER

Arrays = dict[str, NDArray[np.generic]]

TEXT, IMAGE = "text/model.onnx", "image/head.onnx"


def copy_starter(folder: Path) -> None:
    """Copy the starter release; its files are linked."""
    shutil.copytree(STARTER, folder, copy_function=_link)


def change(path: Path, act: Callable[[Arrays], Arrays]) -> None:
    """Replace arrays of a model.

    Args:
        path: The model; its file is replaced, for it may be a link.
        act: Returns the new arrays by name, from all that the model has.

    Raises:
        InvalidInput: The model has no such array, or one of another type or shape.
    """
    model = onnx.load(str(path))
    stored = {one.name: one for one in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(one) for name, one in stored.items()}
    for name, array in act(arrays).items():
        before = arrays.get(name)
        if before is None or (before.dtype, before.shape) != (array.dtype, array.shape):
            received = "none" if before is None else f"{before.dtype} {before.shape}"
            raise InvalidInput(
                f"Expected {array.dtype} {array.shape} as the array {name} of {path}. "
                f"Received: {received}"
            )
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    path.unlink()
    onnx.save(model, str(path))


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target
