"""Convolutional networks of a few kilobytes as ONNX graphs, without TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.inference.manifest import IMAGE_INPUT


class Network:
    """A network under construction: `images` uint8 `(batch, size, size, 3)` to `features`.

    Args:
        size: Side of the images, in pixels.
        seed: Seed of the weights.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._generator = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        numbers = self.add("Cast", IMAGE_INPUT, to=TensorProto.FLOAT)
        centred = self.add("Add", numbers, self.constant(np.array([-127.5], np.float32)))
        scaled = self.add("Mul", centred, self.constant(np.array([1 / 127.5], np.float32)))
        self.pixels = self.add("Transpose", scaled, perm=[0, 3, 1, 2])

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Append an operation; return the name of its output."""
        output = f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Any) -> str:
        """Append a constant; return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def convolution(
        self, value: str, shape: Sequence[int], *, stride: int = 1, group: int = 1
    ) -> str:
        """Append a convolution of random weights of a shape, which keeps the mean square."""
        weights = self._generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return self.add(
            "Conv",
            value,
            self.constant(weights.astype(np.float32)),
            self.constant(self._generator.normal(0, 0.1, shape[0]).astype(np.float32)),
            kernel_shape=list(shape[2:]),
            strides=[stride, stride],
            pads=[shape[2] // 2] * 4,
            group=group,
        )

    def model(self, value: str, features: int) -> onnx.ModelProto:
        """Return the network that averages a value `(batch, features, height, width)`."""
        mean = self.add("GlobalAveragePool", value)
        axes = self.constant(np.array([2, 3], np.int64))
        self._nodes.append(helper.make_node("Squeeze", [mean, axes], ["features"]))
        shape = ["batch", self._size, self._size, 3]
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", features])],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def separable_network(size: int) -> onnx.ModelProto:
    """Return a network of every operation that image candidates have, with 48 features."""
    network = Network(size)
    value = network.convolution(network.pixels, (16, 3, 3, 3), stride=2)
    limits = (network.constant(np.float32(0)), network.constant(np.float32(6)))
    value = network.add("Clip", value, *limits)
    beside = network.convolution(value, (32, 16, 1, 1), stride=2)
    value = network.convolution(value, (16, 1, 3, 3), group=16)
    value = network.convolution(value, (32, 16, 1, 1))
    value = network.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    value = network.add("Relu", network.add("Add", value, beside))
    value = network.convolution(value, (32, 1, 3, 3), group=32)
    value = network.add("Relu", network.convolution(value, (48, 32, 1, 1)))
    return network.model(value, 48)


def brightness_network(size: int) -> onnx.ModelProto:
    """Return a network whose only feature is the mean brightness of an image, 0 to 255."""
    network = Network(size)
    weights = network.constant(np.full((1, 3, 1, 1), 127.5 / 3, np.float32))
    value = network.add(
        "Conv", network.pixels, weights, network.constant(np.array([127.5], np.float32))
    )
    return network.model(network.add("Relu", value), 1)
