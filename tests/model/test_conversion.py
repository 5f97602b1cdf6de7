"""Keras networks become ONNX graphs that answer alike, in little memory."""

import multiprocessing
import os
import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import keras
import numpy as np
import onnxruntime
from keras import layers
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.head import export_backbone
from trainer.candidates.onnx.conversion import as_onnx

Floats = NDArray[np.float32]

SIZE = 24
#: Of features near 1: what is left is the order of additions.
EXACT = 1e-4


def network() -> keras.Model:
    """Every kind of layer that an image candidate is made of, one network within another."""
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
    remember(whole)
    return whole


def remember(whole: keras.Model) -> None:
    """Give the normalisations something to do: statistics as if they had seen images."""
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
    # What the layout of ONNX asks of a kernel is done once, here
    constants = {one.name for one in model.graph.initializer}
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert len(kernels) == 5
    assert set(kernels) <= constants


def test_same_network_is_the_same_file_each_time(tmp_path: Path) -> None:
    # Given conversions in processes that order their sets differently
    command = [sys.executable, "-m", "tests.model.test_conversion"]
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.onnx"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, str(path)], check=True, capture_output=True, env=environment)
    # Then what is kept by the file's content is found again
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()


def test_xception_is_converted_in_little_memory() -> None:
    # In a process of its own: another test may have used more before
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        grown_megabytes, largest, spread = process.submit(convert_xception).result()
    assert grown_megabytes < 800
    assert largest < EXACT * spread


def convert_xception() -> tuple[float, float, float]:
    """How far the memory's peak rose, and the largest difference of features of some spread."""
    keras.utils.set_random_seed(0)
    xception = keras.applications.Xception(weights=None, include_top=False, pooling="avg")
    remember(xception)
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
    export_backbone(network(), SIZE, Path(sys.argv[1]), "int8")
