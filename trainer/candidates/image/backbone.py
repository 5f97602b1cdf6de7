"""Backbones in their served form: the smallest and fastest one that keeps their features."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.files import atomic_write
from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from trainer.candidates.onnx.conversion import as_onnx
from trainer.candidates.onnx.graph import Graph, Storage, and_finer
from trainer.candidates.onnx.quantisation import in_eight_bits
from trainer.candidates.protocols import Arithmetic, FitContext, Floats, Images

BACKBONE = "backbone.onnx"
#: File beside a backbone: its form and the error of its features.
FORM = "backbone.json"
#: Largest error of the features, as a share of their deviation between images. With weights in 8
#: bits, Xception is off by .06 and EfficientNet-Lite0 by .10, at the same F1 as in full precision;
#: decision 0038 has the figures of 8-bit arithmetic.
LARGEST_ERROR = 0.25
#: Number of images in the comparison; the network in Keras takes a second for each.
COMPARED = 12
#: Number of images that find the ranges of 8-bit arithmetic.
CALIBRATED = 128


@dataclass(frozen=True)
class Form:
    """Form of a backbone.

    Attributes:
        arithmetic: Numbers that its convolutions compute with.
        storage: Number format of its weights.
    """

    arithmetic: Arithmetic
    storage: Storage

    def __str__(self) -> str:
        return f"{self.storage}, computed in {self.arithmetic}"


def place_backbone(
    name: str, network: keras.Model, size: int, path: Path, images: Images, context: FitContext
) -> None:
    """Write a backbone in the first of the allowed forms whose features agree.

    Training reads the features of this file, so every later figure includes the rest of the error.
    """
    pixels = images.pixels(size, COMPARED)
    expected = np.concatenate(
        [network(one[None].astype(np.float32), training=False).numpy() for one in pixels]
    )
    model = as_onnx(network, size)
    for form in _forms(context):
        if form.arithmetic == "int8":
            write_in_eight_bits(model, size, path, images.pixels(size, CALIBRATED))
        else:
            write_backbone(model, size, path, form.storage)
        error = _error(path, pixels, expected, form)
        context.log_line(f"{name} backbone in {form}: features are off by {error:.3f}")
        # A NaN is not small either.
        if error <= LARGEST_ERROR:
            break
    record = {**asdict(form), "error": error, "images": len(pixels)}
    path.with_name(FORM).write_text(json.dumps(record), "utf-8")


def export_backbone(
    backbone: keras.Model, size: int, path: Path, storage: Storage, output: str = "features"
) -> None:
    """Write a network: `images` uint8 `(batch, size, size, 3)` to `features`."""
    write_backbone(as_onnx(backbone, size), size, path, storage, output)


def write_backbone(
    model: onnx.ModelProto, size: int, path: Path, storage: Storage, output: str = "features"
) -> None:
    """Write a converted network as `export_backbone` does."""
    graph = Graph(storage)
    pixels = graph.add("Cast", IMAGE_INPUT, to=TensorProto.FLOAT)
    found = graph.embed(model, {model.graph.input[0].name: pixels})[0]
    graph.add("Identity", found, name=output)
    shape = [dimension.dim_value for dimension in model.graph.output[0].type.tensor_type.shape.dim]
    exported = graph.model(
        [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *shape[1:]])],
    )
    with atomic_write(path) as temporary:
        onnx.save(exported, temporary)


def write_in_eight_bits(
    model: onnx.ModelProto, size: int, path: Path, pixels: NDArray[np.uint8]
) -> None:
    """Write a converted network in 8-bit arithmetic.

    Args:
        model: Network from `as_onnx`.
        size: Side of the images, in pixels.
        path: File to write.
        pixels: Images to find the ranges with, shape `(images, size, size, 3)`.
    """
    with TemporaryDirectory() as folder:
        exact = Path(folder) / BACKBONE
        write_backbone(model, size, exact, "float32")
        converted = in_eight_bits(onnx.load(exact), pixels)
    with atomic_write(path) as temporary:
        onnx.save(converted, temporary)


def _forms(context: FitContext) -> Iterator[Form]:
    if (context.arithmetic, context.storage) == ("int8", "int8"):
        yield Form("int8", "int8")
    for one in and_finer(context.storage):
        yield Form("float", one)


def _error(path: Path, pixels: NDArray[np.uint8], expected: Floats, form: Form) -> float:
    """Return the error of the features, as a share of their deviation between images.

    A form in 8-bit arithmetic is computed in floats too, as machines do on which that is faster;
    the larger error counts.
    """
    deviation = max(float(np.linalg.norm(expected - expected.mean(axis=0))), 1e-12)
    errors = []
    for in_floats in {False, form.arithmetic == "int8"}:
        session = open_session(path, threads=0, in_floats=in_floats)
        found = np.concatenate(
            [session.run(["features"], {IMAGE_INPUT: one[None]})[0] for one in pixels]
        )
        errors.append(float(np.linalg.norm(found - expected)) / deviation)
    return float(np.max(errors))
