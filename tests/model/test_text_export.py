"""The exported text network gives what Keras gives."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from trainer.export import export_text
from trainer.graph import Storage
from trainer.models.fusion_stack import softmax
from trainer.models.text_rnn import TextSettings, build_network

SETTINGS = TextSettings(embedding=24, units=16, attention=8)
VOCABULARY, CLASSES = 200, 5


def tokens_of_mixed_length(rows: int = 9, longest: int = 13) -> NDArray[np.int32]:
    generator = np.random.default_rng(3)
    tokens = generator.integers(1, VOCABULARY, (rows, longest)).astype(np.int32)
    for row in range(rows):
        tokens[row, 1 + row :] = 0
    return tokens


def session(members: list[object], storage: Storage) -> onnxruntime.InferenceSession:
    model = export_text(members, 1.7, storage)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-5), ("int8", 0.01)])
def test_onnx_and_keras_agree(storage: Storage, tolerance: float) -> None:
    # Given two members with biases and weights that matter
    members = [build_network(VOCABULARY, CLASSES, SETTINGS) for _ in range(2)]
    generator = np.random.default_rng(0)
    for member in members:
        member.set_weights([w + generator.normal(0, 0.2, w.shape) for w in member.get_weights()])
    tokens = tokens_of_mixed_length()
    # When both score texts of different lengths
    logits = sum(member(tokens, training=False).numpy() for member in members) / 2
    found = session(members, storage).run(["probabilities"], {"tokens": tokens})[0]
    # Then they agree, and the answers do differ from one text to the next
    np.testing.assert_allclose(found, softmax(logits / 1.7), atol=tolerance)
    assert np.ptp(found, axis=0).max() > 0.05


def test_padding_changes_nothing() -> None:
    member = build_network(VOCABULARY, CLASSES, SETTINGS)
    run = session([member], "int8")
    tokens = tokens_of_mixed_length()
    together = run.run(None, {"tokens": tokens})[0]
    for row in range(len(tokens)):
        alone = run.run(None, {"tokens": tokens[row : row + 1, : 1 + row]})[0]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_the_recurrent_layer_is_no_loop() -> None:
    model = export_text([build_network(VOCABULARY, CLASSES, SETTINGS)], 1.0)
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("GRU") == 1
    assert "Loop" not in operations
    assert "Scan" not in operations


def test_small_weights_are_made_large_at_load(tmp_path: Path) -> None:
    # Given a network stored in 8 bits
    model = export_text([build_network(VOCABULARY, CLASSES, TextSettings())], 1.0, "int8")
    assert len(int8_shapes(model)) > 3
    # When ONNX Runtime has loaded it
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # Then only the embedding is still in 8 bits: no answer waits for the rest
    loaded = onnx.load(tmp_path / "loaded.onnx")
    assert int8_shapes(loaded) == [(VOCABULARY, TextSettings().embedding)]


def int8_shapes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    tensors = model.graph.initializer
    return [tuple(t.dims) for t in tensors if t.data_type == onnx.TensorProto.INT8]
