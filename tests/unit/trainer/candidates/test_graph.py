import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainer.candidates.onnx.branches import unless_empty
from trainer.candidates.onnx.graph import Graph, stored_small


def test_int8_error_is_at_most_half_a_step_in_each_channel() -> None:
    array = np.random.default_rng(0).normal(0, 1, (64, 40)).astype(np.float32)
    array[3] *= 100
    stored, scale = stored_small(array, (0,), "int8")
    assert stored.dtype == np.int8
    assert scale is not None
    assert np.all(np.abs(stored.astype(np.float32) * scale - array) <= scale / 2 + 1e-6)
    # A channel of large weights does not coarsen the others.
    assert scale[0] < scale[3] / 10


def test_channel_of_zeros_stays_zero() -> None:
    stored, scale = stored_small(np.zeros((2, 1024), np.float32), (0,), "int8")
    assert scale is not None
    assert not np.any(stored.astype(np.float32) * scale)


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_small_arrays_stay_in_float32(storage: str) -> None:
    stored, scale = stored_small(np.ones((4, 4), np.float32), (0,), storage)  # type: ignore[arg-type]
    assert stored.dtype == np.float32
    assert scale is None


def test_vectors_of_an_embedded_network_stay_exact() -> None:
    shift = np.random.default_rng(0).normal(0, 1, (1, 2048, 1, 1)).astype(np.float32)
    other = helper.make_graph(
        [helper.make_node("Add", ["maps", "shift"], ["shifted"])],
        "other",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, 2048, 2, 2])],
        [helper.make_tensor_value_info("shifted", TensorProto.FLOAT, [1, 2048, 2, 2])],
        [numpy_helper.from_array(shift, "shift")],
    )
    graph = Graph("int8")
    graph.embed(helper.make_model(other), {"maps": "maps"})
    (kept,) = graph.constants
    np.testing.assert_array_equal(numpy_helper.to_array(kept), shift)


def test_weights_of_a_branch_are_restored_outside_of_it() -> None:
    kernel = np.random.default_rng(0).normal(0, 1, (64, 32)).astype(np.float32)
    graph = Graph("int8")

    def product() -> str:
        return graph.dense("values", kernel, np.zeros(32, np.float32))

    unless_empty(graph, "rows", product, otherwise="values")
    # The runtime computes operations on constants at load, but not within a branch.
    assert [node.op_type for node in graph.nodes] == ["Cast", "Mul", "Size", "Greater", "If"]
    branch = graph.nodes[-1].attribute
    inside = {one.name: [node.op_type for node in one.g.node] for one in branch}
    assert inside == {"then_branch": ["MatMul", "Add"], "else_branch": ["Identity"]}
