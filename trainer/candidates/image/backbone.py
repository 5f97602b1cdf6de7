"""Backbones in their served form, in the smallest number format that keeps their features."""

import json
from pathlib import Path

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
from trainer.candidates.protocols import FitContext, Floats, Images

BACKBONE = "backbone.onnx"
#: File beside a backbone: its number format and the error of its features.
FORM = "backbone.json"
#: Largest error of the features, as a share of their deviation between images. Xception in 8 bits
#: is off by .06 and EfficientNet-Lite0 by .10, at the same F1 as in full precision.
LARGEST_ERROR = 0.25
#: Number of images in the comparison; the network in Keras takes a second for each.
COMPARED = 12


def place_backbone(
    name: str, network: keras.Model, size: int, path: Path, images: Images, context: FitContext
) -> None:
    """Write a backbone in the smallest form, from the context's on, whose features agree.

    Training reads the features of this file, so every later figure includes the rest of the error.
    """
    pixels = images.pixels(size, COMPARED)
    expected = np.concatenate(
        [network(one[None].astype(np.float32), training=False).numpy() for one in pixels]
    )
    model = as_onnx(network, size)
    for storage in and_finer(context.storage):
        write_backbone(model, size, path, storage)
        error = _error(path, pixels, expected)
        context.log_line(f"{name} backbone in {storage}: features are off by {error:.3f}")
        # A NaN is not small either.
        if error <= LARGEST_ERROR:
            break
    form = {"storage": storage, "error": error, "images": len(pixels)}
    path.with_name(FORM).write_text(json.dumps(form), "utf-8")


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


def _error(path: Path, pixels: NDArray[np.uint8], expected: Floats) -> float:
    """Return the error of the features, as a share of their deviation between images."""
    session = open_session(path, threads=0)
    found = np.concatenate(
        [session.run(["features"], {IMAGE_INPUT: one[None]})[0] for one in pixels]
    )
    deviation = np.linalg.norm(expected - expected.mean(axis=0))
    return float(np.linalg.norm(found - expected) / max(float(deviation), 1e-12))
