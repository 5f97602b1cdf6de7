"""Published weights become the arrays that candidates read, and their addresses are Keras's own."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications import resnet, xception

from shared.errors import InvalidInput
from trainer.candidates.image.resnet import ResNet50
from trainer.candidates.registry import IMAGES, ON_REQUEST_IMAGES, TEXT
from trainer.weights.conversion import resnet50
from trainer.weights.files import FILES, PACKAGED, Source


def test_addresses_and_checksums_are_those_of_keras() -> None:
    sources = {one.name: one.source for one in FILES if isinstance(one.source, Source)}
    first = sources["xception_imagenet_notop_fp16.npz"]
    second = sources["resnet50_imagenet_notop.npz"]
    assert first.url == xception.WEIGHTS_PATH_NO_TOP
    assert first.md5 in Path(xception.__file__).read_text()
    assert second.url.startswith(resnet.BASE_WEIGHTS_PATH)
    assert second.md5 == resnet.WEIGHTS_HASHES["resnet50"][1]


def test_every_image_candidate_and_pretrained_text_candidate_is_listed() -> None:
    listed = {candidate for one in FILES for candidate in one.candidates}
    images = {one.name for one in (*IMAGES, *ON_REQUEST_IMAGES)}
    assert listed == images | {"text_transformer"}
    assert set(PACKAGED.candidates) <= {one.name for one in TEXT}
    for candidate in IMAGES:
        file = getattr(candidate, "weights_file", None)
        assert file is None or file in {one.name for one in FILES}


def test_converted_weights_build_the_same_network(tmp_path: Path) -> None:
    network = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3)
    )
    network.save_weights(tmp_path / "published.weights.h5")
    resnet50(tmp_path / "published.weights.h5", tmp_path / "resnet50.npz")
    candidate = ResNet50()
    built = candidate.build(tmp_path / "resnet50.npz")
    inner = next(layer for layer in built.layers if isinstance(layer, keras.Model))
    for expected, found in zip(network.get_weights(), inner.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_file_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "published.h5").write_bytes(b"<html>a login page</html>")
    with pytest.raises(InvalidInput, match="Expected weights of resnet50"):
        resnet50(tmp_path / "published.h5", tmp_path / "resnet50.npz")
    assert not (tmp_path / "resnet50.npz").exists()
