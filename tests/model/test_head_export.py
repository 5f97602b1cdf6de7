"""Heads whose features hardly vary, or vary much, are exported as they were fitted."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from tests.model.test_image_candidates import Small, context_of
from trainer.candidates.image.head import HEAD, HeadSettings, fit_head, predict_logits
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import Labels

CLASSES, WIDTH, IMAGES = 12, 96, 480
SETTINGS = HeadSettings(hidden=64, epochs=12, batch=32, learning_rate=5e-3, dropout=0.1)


def features_of(oddity: str) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return features of images in twelve clusters, some of which are odd."""
    generator = np.random.default_rng(3)
    targets = np.arange(IMAGES) % CLASSES
    centres = generator.normal(0, 0.5, (CLASSES, WIDTH))
    found = centres[targets] + generator.normal(0, 0.25, (IMAGES, WIDTH))
    if oddity == "constant":
        found[:, :20] = generator.random(20)
    elif oddity == "nearly constant":
        found[:, :20] = generator.random(20) + generator.normal(0, 1e-6, (IMAGES, 20))
    elif oddity == "constant but for rounding":
        found[:, :20] = 3 + generator.normal(0, 1e-3, (IMAGES, 20))
    elif oddity == "huge":
        found[:, 0] *= 20_000
    return found.astype(np.float16), targets


def exported(folder: Path, features: NDArray[np.float16], storage: Storage) -> NDArray[np.float32]:
    from onnx import TensorProto, helper

    graph = Graph(storage)
    logits = Small().export(graph, folder)
    graph.add("Identity", logits, name="logits")
    model = graph.model(
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: NDArray[np.float32] = session.run(None, {"features": features.astype(np.float32)})[0]
    return found


@pytest.mark.parametrize(
    "oddity", ["none", "constant", "nearly constant", "constant but for rounding", "huge"]
)
def test_head_in_eight_bits_answers_as_the_fitted_one(oddity: str, tmp_path: Path) -> None:
    features, targets = features_of(oddity)
    labels = Labels(targets, np.ones(IMAGES, np.float32), CLASSES)
    fit_head("head", features, labels, SETTINGS, context_of("int8")).save(tmp_path / HEAD)
    fitted = predict_logits(tmp_path, features).argmax(axis=1)
    assert (fitted == targets).mean() > 0.95
    found = exported(tmp_path, features, "int8").argmax(axis=1)
    assert (found == fitted).mean() >= 0.99


def test_feature_that_was_constant_in_training_does_not_decide_an_answer(tmp_path: Path) -> None:
    # Given a feature that is constant in all images of the training
    features, targets = features_of("constant")
    labels = Labels(targets, np.ones(IMAGES, np.float32), CLASSES)
    fit_head("head", features, labels, SETTINGS, context_of("int8")).save(tmp_path / HEAD)
    before = predict_logits(tmp_path, features).argmax(axis=1)
    # When it has another value in the images that are served
    other = features.copy()
    other[:, :20] += 0.5
    # Then the answers are the same
    assert (predict_logits(tmp_path, other).argmax(axis=1) == before).all()
    assert (exported(tmp_path, other, "int8").argmax(axis=1) == before).mean() >= 0.99
