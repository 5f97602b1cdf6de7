"""Builder of ONNX graphs with compactly stored weights.

An 8-bit weight is stored as integers with one scale for each output channel, and `Cast` and `Mul`
restore float32. ONNX Runtime folds those two at load, so a stored release is a quarter of the size
and serves at the speed of float32.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Newest opset in which `ReduceMax` and its relatives behave alike in all supported runtimes.
OPSET = 17
#: Arrays with fewer elements (biases, scales) stay in float32.
SMALLEST_STORED = 1024

#: Largest 8-bit integer that a weight is stored as.
LARGEST = 127
#: Unsigned integer that stands for zero in a product of integers.
ZERO_POINT = 128
SMALLEST_SCALE = 1e-12

Storage = Literal["int8", "float16", "float32"]
#: Number formats of weights, each finer than the one before.
STORAGES: tuple[Storage, ...] = ("int8", "float16", "float32")
Floats = NDArray[np.float32]


class Graph:
    """A graph under construction; methods return the name of the value that they add."""

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

    @contextmanager
    def reading(self, values: Mapping[str, str]) -> Iterator[None]:
        """Redirect the inputs of the operations that are added within the block.

        Args:
            values: Name of the value to read, by the name of the one that it replaces.
        """
        first, shared = len(self.nodes), self._shared
        self._shared = {}
        yield
        self._shared = shared
        for node in self.nodes[first:]:
            node.input[:] = [values.get(name, name) for name in node.input]

    def shared(self, name: str, make: Callable[[], str]) -> str:
        """Return a value that several models read; `make` adds it on first use."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def split(self, value: str, parts: int, *, axis: int) -> list[str]:
        """Cut a value into equal parts along an axis."""
        outputs = [self._fresh("part") for _ in range(parts)]
        self.nodes.append(helper.make_node("Split", [value], outputs, axis=axis))
        return outputs

    def embed(self, model: onnx.ModelProto, inputs: dict[str, str]) -> list[str]:
        """Add another graph with its float weights stored compactly; return its outputs' new names.

        Args:
            model: The other graph.
            inputs: Name in this graph, by the name of each input of the other.
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
        """Store an array unchanged."""
        name = self._fresh("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, array: Floats, channel_axes: Sequence[int]) -> str:
        """Store a weight compactly, with a scale for each index of `channel_axes`."""
        stored, scale = stored_small(array, channel_axes, self.storage)
        value = self.constant(stored)
        if stored.dtype != np.float32:
            value = self.add("Cast", value, to=TensorProto.FLOAT)
        return value if scale is None else self.add("Mul", value, self.constant(scale))

    def dense(self, value: str, kernel: Floats, bias: Floats) -> str:
        """Add `value @ kernel + bias`."""
        product = self.add("MatMul", value, self.weight(kernel, (1,)))
        return self.add("Add", product, self.constant(bias.astype(np.float32)))

    def integer_dense(self, value: str, kernel: Floats, bias: Floats) -> str:
        """Add `value @ kernel + bias`, multiplied in 8-bit integers if weights are stored so.

        Each row of `value` gets a scale of its own in each call: one for all would be that of a few
        outliers (Dettmers et al., "LLM.int8()", 2022, section 2.1).
        """
        if self.storage != "int8" or kernel.size < SMALLEST_STORED:
            return self.dense(value, kernel, bias)
        scale = np.maximum(np.abs(kernel).max(axis=0) / LARGEST, SMALLEST_SCALE)
        stored = self.constant(np.round(kernel / scale).astype(np.int8))
        integers, factor = self._quantised(value)
        zero = self.constant(np.array(ZERO_POINT, np.uint8))
        product = self.add("MatMulInteger", integers, stored, zero)
        product = self.add("Cast", product, to=TensorProto.FLOAT)
        by_row = self.add("Mul", product, factor)
        restored = self.add("Mul", by_row, self.constant(scale.astype(np.float32)))
        return self.add("Add", restored, self.constant(bias.astype(np.float32)))

    def rows(self, table: Floats, ids: str) -> str:
        """Look up rows of a table.

        The scale of each row is applied after the look-up, so that the table stays compact in
        memory.
        """
        stored, scale = stored_small(table, (0,), self.storage)
        found = self.add("Gather", self.constant(stored), ids)
        if stored.dtype != np.float32:
            found = self.add("Cast", found, to=TensorProto.FLOAT)
        if scale is None:
            return found
        return self.add("Mul", found, self.add("Gather", self.constant(scale), ids))

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """Return the finished model after ONNX's checks."""
        graph = helper.make_graph(self.nodes, "rayon", inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="rayon"
        )
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model

    def _quantised(self, value: str) -> tuple[str, str]:
        """Add the integers of each row, shifted by `ZERO_POINT`, and its scale."""

        def number(one: float) -> str:
            return self.constant(np.array(one, np.float32))

        largest = self.add("ReduceMax", self.add("Abs", value), axes=[-1], keepdims=1)
        factor = self.add("Mul", largest, number(1 / LARGEST))
        factor = self.add("Max", factor, number(SMALLEST_SCALE))
        shifted = self.add("Add", self.add("Div", value, factor), number(ZERO_POINT))
        return self.add("Cast", self.add("Round", shifted), to=TensorProto.UINT8), factor

    def _kept(self, tensor: onnx.TensorProto) -> str:
        array = numpy_helper.to_array(tensor)
        # A vector has one number for each channel; one scale for all of them would be too coarse.
        is_vector = max(array.shape, default=1) == array.size
        if array.dtype != np.float32 or is_vector:
            return self.constant(array)
        return self.weight(array, (0,))

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"rayon_{kind.lower()}_{self._count}"


def and_finer(storage: Storage) -> tuple[Storage, ...]:
    """Return a number format and the finer ones."""
    return STORAGES[STORAGES.index(storage) :]


def stored_small(
    array: Floats, channel_axes: Sequence[int], storage: Storage
) -> tuple[NDArray[np.generic], Floats | None]:
    """Return the numbers to store for an array, and the scale to multiply them with, if any."""
    if storage == "float32" or array.size < SMALLEST_STORED:
        return array.astype(np.float32), None
    if storage == "float16":
        if np.abs(array).max() > np.finfo(np.float16).max:
            return array.astype(np.float32), None
        return array.astype(np.float16), None
    others = tuple(axis for axis in range(array.ndim) if axis not in channel_axes)
    scale = np.maximum(np.abs(array).max(axis=others, keepdims=True) / LARGEST, SMALLEST_SCALE)
    return np.round(array / scale).astype(np.int8), scale.astype(np.float32)
