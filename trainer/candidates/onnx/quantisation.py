"""Conversion of an image network to 8-bit arithmetic.

Each convolution reads and writes integers of 8 bits. The numbers that an integer stands for are
decided by the range of its tensor, which is found by running the network on some images: Jacob et
al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(2018). The graph says so by pairs of `QuantizeLinear` and `DequantizeLinear` around operations in
floats. ONNX Runtime computes either the integers, or without the pairs the floats; see
`shared.inference.onnx_session`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import ARITHMETIC, EIGHT_BITS

Floats = NDArray[np.float32]
#: Smallest and largest number of each tensor that its integers can stand for.
Ranges = Mapping[str, tuple[float, float]]

#: Share of the numbers of a tensor beyond its range, of both ends together. Few numbers of a deep
#: network are a hundred times larger than the others; a range for them leaves the others a handful
#: of integers.
OUTSIDE = 1e-4
#: Numbers of one tensor and image that are kept to find its range.
KEPT = 4096
#: Operations in 8 bits: an activation belongs to the convolution before it. Additions and pooling
#: cost little, and in floats lose nothing.
OPERATIONS = ("Conv", "Relu", "Clip")


@dataclass(frozen=True)
class Observed:
    """Numbers of one tensor, for several images.

    Attributes:
        lowest: Smallest number of all.
        highest: Largest number of all.
        some: A sample of them, shape `(numbers,)`.
    """

    lowest: float
    highest: float
    some: Floats


def in_eight_bits(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> onnx.ModelProto:
    """Convert a backbone in floats to 8-bit arithmetic.

    Args:
        model: Network from `images` uint8 `(batch, size, size, 3)`.
        pixels: Images to find the ranges with, shape `(images, size, size, 3)`.
    """
    network = folded(model)
    return quantised(network, clipped(observed(network, pixels)))


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Merge constants, scales and offsets into the convolutions, and name all operations."""
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quant_pre_process(before, after, skip_symbolic_shape=True)
        found = onnx.load(after)
    for node in found.graph.node:
        node.name = f"{node.op_type} {node.output[0]}"
    return found


def observed(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> dict[str, Observed]:
    """Run a folded network on images, and return the numbers of each tensor between operations."""
    names = _tensors(model)
    session = _session(_with_outputs(model, names))
    generator = np.random.default_rng(0)
    kept: dict[str, list[Floats]] = {name: [] for name in names}
    lowest, highest = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for one in pixels:
        # One image at a time: all tensors of an image take hundreds of megabytes.
        for name, values in zip(names, session.run(names, {IMAGE_INPUT: one[None]}), strict=True):
            lowest[name] = min(lowest[name], float(values.min()))
            highest[name] = max(highest[name], float(values.max()))
            step = max(1, values.size // KEPT)
            kept[name].append(values.ravel()[generator.integers(step) :: step].copy())
    return {
        name: Observed(lowest[name], highest[name], np.concatenate(kept[name])) for name in names
    }


def clipped(tensors: Mapping[str, Observed], outside: float = OUTSIDE) -> Ranges:
    """Return ranges that leave out a share of the numbers; 0 leaves out none."""
    if not outside:
        return {name: (one.lowest, one.highest) for name, one in tensors.items()}
    ends = (outside / 2, 1 - outside / 2)
    found = {name: np.quantile(one.some, ends) for name, one in tensors.items()}
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def quantised(
    model: onnx.ModelProto, ranges: Ranges, in_floats: Collection[str] = ()
) -> onnx.ModelProto:
    """Convert a folded network to 8-bit arithmetic.

    Args:
        model: Network from `folded`.
        ranges: Range of each tensor.
        in_floats: Names of operations that stay in floats.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "before.onnx")
        # Every range contains 0, because the padding of a convolution is 0.
        limits = {
            one: (np.float32(min(low, 0)), np.float32(max(high, 0)))
            for one, (low, high) in ranges.items()
        }
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, limits), folder / "ranges.json")
        quantize_static(
            folder / "before.onnx",
            folder / "after.onnx",
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATIONS),
            per_channel=True,
            # On x86, products of unsigned and signed numbers are the fastest.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(in_floats),
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=folder / "ranges.json",
            # Otherwise activations would be part of the pairs, and be missing without them.
            extra_options={"QDQKeepRemovableActivations": True},
        )
        found = onnx.load(folder / "after.onnx")
    helper.set_model_props(found, {ARITHMETIC: EIGHT_BITS})
    return found


def layer_errors(
    model: onnx.ModelProto, converted: onnx.ModelProto, pixels: NDArray[np.uint8]
) -> dict[str, float]:
    """Return the error of each convolution's output, as a share of the output, by its name.

    Args:
        model: Network from `folded`.
        converted: The same network in 8-bit arithmetic.
        pixels: Images to compare, shape `(images, size, size, 3)`.
    """
    named = {node.output[0]: node.name for node in model.graph.node if node.op_type == "Conv"}
    sessions = [_session(_with_outputs(one, list(named))) for one in (model, converted)]
    squares = np.zeros((2, len(named)))
    for one in pixels:
        exact, found = (session.run([*named], {IMAGE_INPUT: one[None]}) for session in sessions)
        squares[0] += [float(((b - a) ** 2).sum()) for a, b in zip(exact, found, strict=True)]
        squares[1] += [float((a**2).sum()) for a in exact]
    shares = np.sqrt(squares[0] / np.maximum(squares[1], 1e-12))
    return dict(zip(named.values(), shares.tolist(), strict=True))


def _tensors(model: onnx.ModelProto) -> list[str]:
    """Return the tensors that convolutions and their activations read and write."""
    constants = {one.name for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in OPERATIONS]
    names = dict.fromkeys(name for node in nodes for name in (node.input[0], *node.output))
    return [name for name in names if name not in constants]


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a model that also returns some of its tensors."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {one.name for one in copied.graph.output}
    copied.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    return copied


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Optimised, the operations between integers would have no output of floats to return.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
