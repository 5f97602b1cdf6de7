"""The comparison of text models in 8 bits with floats compares what it says."""

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.bench.quality.eightbit_texts import in_floats
from trainer.candidates.onnx.graph import Graph

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(64, 32)).astype(np.float32)
BIAS = GENERATOR.normal(size=32).astype(np.float32)
VALUES = GENERATOR.normal(size=(3, 5, 64)).astype(np.float32)


def answered(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: NDArray[np.float32] = session.run(None, {"values": VALUES})[0]
    return found


def test_products_in_floats_have_the_weights_of_8_bits() -> None:
    graph = Graph("int8")
    output = graph.integer_dense("values", KERNEL, BIAS)
    model = graph.model(
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [None, None, 64])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, None, 32])],
    )
    scale = np.abs(KERNEL).max(axis=0) / 127
    exact = VALUES @ (np.round(KERNEL / scale) * scale) + BIAS
    np.testing.assert_allclose(answered(in_floats(model)), exact, atol=1e-4)
    # The model itself rounds the values too, and stays as it was.
    assert np.abs(answered(model) - exact).max() > 1e-3
    assert "MatMulInteger" in [node.op_type for node in model.graph.node]
