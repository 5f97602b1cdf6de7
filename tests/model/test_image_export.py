"""The exported picture network gives what Keras gives."""

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from trainer.export import export_backbone, export_image
from trainer.graph import Storage
from trainer.models.fusion_stack import softmax
from trainer.models.image_xception import FEATURES, SIZE, ImageSettings, fit_head


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    """Not Xception, but made of the same operations."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3), name="pictures")
    value = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    value = layers.Conv2D(8, 3, strides=8, use_bias=False)(value)
    value = layers.BatchNormalization()(value)
    value = layers.SeparableConv2D(FEATURES, 3, strides=8, use_bias=False)(value)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(layers.ReLU()(value)))


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("int8", 0.06)])
def test_onnx_and_keras_agree(
    backbone: keras.Model, storage: Storage, tolerance: float, tmp_path: Path
) -> None:
    # Given a backbone, and a head fitted on its features
    generator = np.random.default_rng(1)
    colours = generator.integers(0, 200, (6, 1, 1, 3))
    pictures = (colours + generator.integers(0, 56, (6, SIZE, SIZE, 3))).astype(np.uint8)
    features = backbone(pictures.astype(np.float32), training=False).numpy()
    head = fit_head(
        features,
        np.array([0, 0, 0, 1, 1, 2]),
        np.ones(6, np.float32),
        classes=3,
        settings=ImageSettings(hidden=16, epochs=3),
        seed=0,
    )
    # When both score the same pictures
    expected = softmax(head(features, training=False).numpy() / 1.5)
    export_backbone(backbone, tmp_path / "backbone.onnx")
    model = export_image(onnx.load(tmp_path / "backbone.onnx"), head, 1.5, storage)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(["probabilities"], {"pictures": pictures})[0]
    # Then they agree, and pictures of other colours get different answers
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.ptp(found, axis=0).max() > 0.05
