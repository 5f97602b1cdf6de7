"""Graph of a model's answer: the pool of its parts, and the cascade."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.inference.releases.fusion_model import shifted
from trainer.candidates.calibration import softmax
from trainer.candidates.onnx.graph import Graph
from trainer.pipeline.export import answer_of
from trainer.pipeline.fitting import Part

CLASSES = 3
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reader:
    """A candidate whose logits are the values of an input."""

    reads: str

    def export(self, graph: Graph, folder: Path) -> str:
        return graph.add("Identity", self.reads)


@dataclass(frozen=True)
class Recurrent:
    """A candidate whose logits are the last state of a recurrent network."""

    reads: str

    def export(self, graph: Graph, folder: Path) -> str:
        kernel = graph.constant(np.full((1, 3 * CLASSES, CLASSES), 0.1, np.float32))
        step = graph.add("Unsqueeze", self.reads, graph.constant(np.array([0], np.int64)))
        found = graph.add("GRU", step, kernel, kernel, hidden_size=CLASSES)
        axes = graph.constant(np.array([0, 1], np.int64))
        return graph.add("Squeeze", found, axes)


def values(rows: int, seed: int, scale: float = 3.0) -> Floats:
    found: Floats = np.random.default_rng(seed).normal(0, scale, (rows, CLASSES)).astype(np.float32)
    return found


def answers(parts: tuple[Part, ...], **inputs: Floats) -> Floats:
    model = exported(parts, *inputs).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: Floats = session.run(["probabilities"], inputs)[0]
    return found


def exported(parts: tuple[Part, ...], *inputs: str) -> onnx.ModelProto:
    graph = Graph()
    name = answer_of(graph, parts, inputs)
    shapes = [
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["batch", CLASSES]) for one in inputs
    ]
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", CLASSES])
    return graph.model(shapes, [output])


def parts_of(**first: Any) -> tuple[Part, Part]:
    quick = Part(Reader("quick"), Path(), 0.8, (0.5, 0.6, 0.4), bias=(0.1, -0.2, 0.0), **first)
    return quick, Part(Reader("slow"), Path(), 1.5, 0.7)


def pooled(quick: Floats, slow: Floats) -> Floats:
    both = (np.log(softmax(quick / 0.8)), np.log(softmax(slow / 1.5)))
    return softmax(both[0] * (0.5, 0.6, 0.4) + (0.1, -0.2, 0.0) + 0.7 * both[1]).astype(np.float32)


def test_pool_is_the_softmax_of_weighted_log_probabilities() -> None:
    quick, slow = values(50, 0), values(50, 1)
    found = answers(parts_of(), quick=quick, slow=slow)
    np.testing.assert_allclose(found, pooled(quick, slow), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 50])
def test_pool_is_asked_only_where_the_first_part_is_unsure(rows: int) -> None:
    quick, slow = values(rows, 0), values(rows, 1)
    alone = softmax(quick / np.float32(0.8))
    is_sure = alone.max(axis=1) >= 0.9
    assert rows == 1 or 10 < is_sure.sum() < 40
    # The slow part must not read the rows of which the first part is sure.
    read = np.where(is_sure[:, None], np.float32("nan"), slow)
    found = answers(parts_of(alone_at=0.9), quick=quick, slow=read)
    expected = np.where(is_sure[:, None], alone, pooled(quick, slow))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("sure", "scale"), [(True, 100.0), (False, 0.01)])
def test_first_part_may_be_sure_of_all_rows_or_none(sure: bool, scale: float) -> None:
    quick, slow = values(7, 0, scale), values(7, 1)
    expected = softmax(quick / np.float32(0.8)) if sure else pooled(quick, slow)
    found = answers(parts_of(alone_at=0.9), quick=quick, slow=slow)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_recurrent_network_never_gets_an_empty_batch() -> None:
    quick, slow = values(7, 0, 100.0), values(7, 1)
    parts = (parts_of(alone_at=0.9)[0], Part(Recurrent("slow"), Path(), 1.0, 0.5))
    # ONNX Runtime would crash, so the network must not run at all.
    operations = [node.op_type for node in exported(parts, "quick", "slow").graph.node]
    assert "If" in operations
    assert "GRU" not in operations
    found = answers(parts, quick=quick, slow=slow)
    np.testing.assert_allclose(found, softmax(quick / np.float32(0.8)), atol=1e-5)


@pytest.mark.parametrize("alone_at", [0.0, 0.9])
def test_ratios_multiply_the_final_probabilities(alone_at: float) -> None:
    quick, slow = values(50, 0), values(50, 1)
    ratios = (0.5, 1.0, 4.0)
    plain = answers(parts_of(alone_at=alone_at), quick=quick, slow=slow)
    found = answers(parts_of(alone_at=alone_at, ratios=ratios), quick=quick, slow=slow)
    np.testing.assert_allclose(found, shifted(plain, np.array(ratios)), atol=1e-5)
