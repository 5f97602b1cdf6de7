"""Writes ONNX graphs by hand, with weights stored small.

An 8-bit weight is stored as whole numbers and one scale for each output channel, and becomes
float32 again through `Cast` and `Mul`. ONNX Runtime folds those two at load, so a stored release is
a quarter of the size and serves at the speed of float32.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Newest set in which `ReduceMax` and friends mean the same in every ONNX Runtime we meet.
OPSET = 17
#: Smaller arrays (biases, scales) stay as they are.
SMALLEST_STORED = 1024

Storage = Literal["int8", "float16", "float32"]
Floats = NDArray[np.float32]


class Graph:
    """A graph under construction; every call names the value that it returns."""

    def __init__(self, storage: Storage = "int8") -> None:
        self.storage = storage
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0
        self._shared: dict[str, str] = {}

    def add(self, operation: str, *inputs: str, name: str = "", **attributes: object) -> str:
        """Append an operation with one output."""
        output = name or self._fresh(operation)
        self.nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def shared(self, what: str, make: Callable[[], str]) -> str:
        """The value called `what`, made on first use: several models may read it."""
        if what not in self._shared:
            self._shared[what] = make()
        return self._shared[what]

    def split(self, value: str, parts: int, *, axis: int) -> list[str]:
        """Cut a value into equal parts along an axis."""
        outputs = [self._fresh("part") for _ in range(parts)]
        self.nodes.append(helper.make_node("Split", [value], outputs, axis=axis))
        return outputs

    def embed(self, model: onnx.ModelProto, inputs: dict[str, str]) -> list[str]:
        """Add all of another graph, float weights stored small; returns its outputs' new names.

        Args:
            model: Its own input names are the keys of `inputs`.
            inputs: What each of them is called here.
        """
        renamed = dict(inputs)
        renamed |= {one.name: self._kept(one) for one in model.graph.initializer}
        for node in model.graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            for name in node.output:
                renamed[name] = self._fresh("embedded") if name else ""
            copied.input[:] = [renamed.get(name, name) for name in node.input]
            copied.output[:] = [renamed[name] for name in node.output]
            copied.name = ""
            self.nodes.append(copied)
        return [renamed[output.name] for output in model.graph.output]

    def constant(self, array: NDArray[np.generic] | Floats) -> str:
        """Store an array as it is."""
        name = self._fresh("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, array: Floats, channel_axes: Sequence[int]) -> str:
        """Store a weight small; `channel_axes` are the axes that have a scale each."""
        stored, scale = stored_small(array, channel_axes, self.storage)
        value = self.constant(stored)
        if stored.dtype != np.float32:
            value = self.add("Cast", value, to=TensorProto.FLOAT)
        return value if scale is None else self.add("Mul", value, self.constant(scale))

    def dense(self, value: str, kernel: Floats, bias: Floats) -> str:
        """`value @ kernel + bias`."""
        product = self.add("MatMul", value, self.weight(kernel, (1,)))
        return self.add("Add", product, self.constant(bias.astype(np.float32)))

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """Close the graph and check it."""
        graph = helper.make_graph(self.nodes, "rayon", inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="rayon"
        )
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model

    def _kept(self, tensor: onnx.TensorProto) -> str:
        array = numpy_helper.to_array(tensor)
        # One number for each channel, whatever its shape: a scale for them all would be too rough.
        is_vector = max(array.shape, default=1) == array.size
        if array.dtype != np.float32 or is_vector:
            return self.constant(array)
        return self.weight(array, (0,))

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"rayon_{kind.lower()}_{self._count}"


def stored_small(
    array: Floats, channel_axes: Sequence[int], storage: Storage
) -> tuple[NDArray[np.generic], Floats | None]:
    """Make an array small: the stored numbers, and the scale to multiply them with, if any."""
    if storage == "float32" or array.size < SMALLEST_STORED:
        return array.astype(np.float32), None
    if storage == "float16":
        return array.astype(np.float16), None
    others = tuple(axis for axis in range(array.ndim) if axis not in channel_axes)
    scale = np.maximum(np.abs(array).max(axis=others, keepdims=True) / 127, 1e-12)
    return np.round(array / scale).astype(np.int8), scale.astype(np.float32)
