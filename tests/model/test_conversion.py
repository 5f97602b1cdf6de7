"""Keras networks are converted to equivalent ONNX graphs, in little memory."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.backbone import export_backbone
from trainer.candidates.onnx.conversion import as_onnx

Floats = NDArray[np.float32]

SIZE = 24
#: Tolerance for features near 1, for the order of additions differs.
EXACT = 1e-4


def network() -> keras.Model:
    """Build a network within another, of every kind of layer that image candidates have."""
    keras.utils.set_random_seed(0)
    maps = keras.Input((SIZE, SIZE, 3))
    value = layers.Conv2D(8, 3, strides=2, use_bias=False, padding="same")(maps)
    value = layers.BatchNormalization()(value)
    value = layers.Activation("relu")(value)
    beside = layers.Conv2D(16, 1, strides=2, use_bias=False, padding="same")(value)
    value = layers.SeparableConv2D(16, 3, use_bias=False, padding="same")(value)
    value = layers.BatchNormalization()(value)
    value = layers.MaxPooling2D(3, strides=2, padding="same")(value)
    value = layers.add([value, layers.BatchNormalization()(beside)])
    value = layers.ZeroPadding2D(((0, 1), (0, 1)))(value)
    value = layers.DepthwiseConv2D(3, use_bias=False)(value)
    value = layers.ReLU(max_value=6.0)(value)
    inner = keras.Model(maps, layers.GlobalAveragePooling2D()(value))
    pixels = keras.Input((SIZE, SIZE, 3), name=IMAGE_INPUT)
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    shrunk = layers.Resizing(SIZE // 2, SIZE // 2)(pixels[..., ::-1])
    both = [inner(scaled), layers.Flatten()(shrunk)]
    whole = keras.Model(pixels, layers.Dense(5)(layers.Concatenate()(both)))
    set_statistics(whole)
    return whole


def set_statistics(whole: keras.Model) -> None:
    """Give the normalisation layers random statistics, as if they had been trained."""
    generator = np.random.default_rng(1)
    for layer in whole._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            layer.set_weights([generator.uniform(0.5, 1.5, shape) for _ in range(4)])


def answers(model: bytes, pixels: Floats) -> Floats:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: Floats = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return found


def some_pixels(size: int) -> Floats:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.float32)


def test_converted_network_answers_as_keras_does() -> None:
    whole, pixels = network(), some_pixels(SIZE)
    expected = whole(pixels, training=False).numpy()
    found = answers(as_onnx(whole, SIZE).SerializeToString(), pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=EXACT)


def test_converted_network_has_its_weights_as_constants_and_one_input() -> None:
    model = as_onnx(network(), SIZE)
    assert [one.name for one in model.graph.input] == [IMAGE_INPUT]
    # Transpositions of kernels are evaluated during the conversion
    constants = {one.name for one in model.graph.initializer}
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert len(kernels) == 5
    assert set(kernels) <= constants


@dataclass(frozen=True)
class Converted:
    """Results of a process of its own.

    Attributes:
        backbone: Exported `network()`.
        grown_megabytes: Growth of the memory's peak while Xception was converted.
        largest: Largest difference of Xception's features from those of Keras.
        spread: Standard deviation of the features.
    """

    backbone: bytes
    grown_megabytes: float
    largest: float
    spread: float


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Convert in another process: it orders its sets differently, and has used little memory."""
    path = tmp_path_factory.mktemp("converted") / "backbone.onnx"
    ours = os.environ.get("PYTHONHASHSEED", "random")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.model.test_conversion", str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "2" if ours == "1" else "1"},
    )
    return Converted(path.read_bytes(), *json.loads(ran.stdout.splitlines()[-1]))


def test_same_network_is_the_same_file_in_every_process(
    converted: Converted, tmp_path: Path
) -> None:
    # Features are stored under a digest of the file
    export_backbone(network(), SIZE, tmp_path / "backbone.onnx", "int8")
    assert (tmp_path / "backbone.onnx").read_bytes() == converted.backbone


def test_xception_is_converted_in_little_memory(converted: Converted) -> None:
    assert converted.grown_megabytes < 800


def test_converted_xception_answers_as_keras_does(converted: Converted) -> None:
    assert converted.largest < EXACT * converted.spread


def convert_xception() -> tuple[float, float, float]:
    """Return the growth of the memory's peak, the largest difference, and the spread."""
    keras.utils.set_random_seed(0)
    xception = keras.applications.Xception(weights=None, include_top=False, pooling="avg")
    set_statistics(xception)
    before = peak_megabytes()
    model = as_onnx(xception, 299).SerializeToString()
    grown = peak_megabytes() - before
    pixels = some_pixels(299)[:1] / 127.5 - 1
    expected = xception(pixels, training=False).numpy()
    found = answers(model, pixels)
    return grown, float(np.abs(found - expected).max()), float(expected.std())


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    # First, before anything else raises the peak of the memory.
    figures = convert_xception()
    export_backbone(network(), SIZE, Path(sys.argv[1]), "int8")
    print(json.dumps(figures))
