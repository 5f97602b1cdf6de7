"""Image candidates are fitted and exported, with a small network in Xception's place."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from keras import layers
from PIL import Image

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import is_in_eight_bits, open_session
from trainer.candidates.calibration import softmax
from trainer.candidates.image import xception
from trainer.candidates.image.backbone import BACKBONE, CALIBRATED, FORM
from trainer.candidates.image.champion import ChampionBackbone
from trainer.candidates.image.head import Batches, FrozenBackbone, HeadSettings
from trainer.candidates.image.resnet import ResNet50
from trainer.candidates.image.xception import TuningSettings, XceptionTuned
from trainer.candidates.onnx.graph import Storage
from trainer.candidates.protocols import FitContext, ImageCandidate, Labels
from trainer.candidates.registry import IMAGES, ON_REQUEST_IMAGES
from trainer.pipeline.export import export_head, features_of
from trainer.pipeline.fitting import Part
from trainer.pipeline.row_images import RowImages, readable
from trainer.pipeline.source_closure import SourceClosure

SIZE = 32
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


@dataclass(frozen=True)
class Small(FrozenBackbone):
    name: str = "image_small"
    size: int = SIZE
    weights_file: str = "none.npz"
    settings: HeadSettings = field(
        default_factory=lambda: HeadSettings(
            hidden=32, epochs=60, batch=8, learning_rate=1e-2, dropout=0.1
        )
    )

    def unavailable_reason(self, context: FitContext) -> str | None:
        return None

    def build(self, weights: Path | None) -> keras.Model:
        return with_pixels(small_network())


def small_network() -> keras.Model:
    """Build a network of Xception's operations, with the layer names of its last block."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    value = layers.Conv2D(8, 3, strides=4, use_bias=False)(pixels)
    for number, name in enumerate(xception.TOP_LAYERS):
        kind = number % 3
        if kind == 0:
            value = layers.SeparableConv2D(16, 3, padding="same", use_bias=False, name=name)(value)
        elif kind == 1:
            value = layers.BatchNormalization(name=name)(value)
        else:
            value = layers.Activation("relu", name=name)(value)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(value))


def with_pixels(network: keras.Model) -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3), name=IMAGE_INPUT)
    return keras.Model(pixels, network(layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)))


def context_of(storage: Storage) -> FitContext:
    return FitContext(0, None, storage, lambda _: None, lambda *_: None)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return Labels(np.arange(30) % 3, np.ones(30, np.float32), 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> RowImages:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(1)
    paths = []
    for row in range(30):
        pixels = np.clip(
            np.array(COLOURS[row % 3]) + generator.integers(-25, 25, (40, 50, 3)), 0, 255
        )
        paths.append(str(folder / f"{row}.png"))
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return RowImages(pd.DataFrame({"image": paths}), folder / "features", lambda _: None)


@pytest.fixture(scope="module")
def int8_fit(images: RowImages, labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit the small candidate once, with 8-bit weights."""
    folder = tmp_path_factory.mktemp("int8")
    Small().fit(images, labels, folder, context_of("int8"))
    return folder


@pytest.fixture(scope="module")
def exact_fit(images: RowImages, labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit the small candidate once, with weights in full precision."""
    folder = tmp_path_factory.mktemp("float32")
    Small().fit(images, labels, folder, context_of("float32"))
    return folder


def served(part: Part, features: Any, storage: Storage) -> Any:
    session = onnxruntime.InferenceSession(
        export_head((part,), storage).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["probabilities"], {"features": features.astype(np.float32)})[0]


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("int8", 0.05)])
def test_served_head_is_the_fitted_one(
    images: RowImages,
    labels: Labels,
    int8_fit: Path,
    storage: Storage,
    tolerance: float,
) -> None:
    candidate = Small()
    logits = candidate.predict(images, int8_fit)
    assert (logits.argmax(axis=1) == labels.targets).mean() > 0.9
    features = images.features(candidate.name, int8_fit / BACKBONE, SIZE)
    assert features_of(int8_fit / BACKBONE) == features.shape[1] == 16
    found = served(Part(candidate, int8_fit, temperature=1.5), features, storage)
    np.testing.assert_allclose(found, softmax(logits / 1.5), atol=tolerance)


def test_head_is_fitted_on_the_features_of_a_backbone_in_eight_bits(
    images: RowImages, labels: Labels, tmp_path: Path
) -> None:
    context = replace(context_of("int8"), arithmetic="int8")
    Small().fit(images, labels, tmp_path, context)
    form = json.loads((tmp_path / FORM).read_text())
    assert form["arithmetic"] == "int8"
    assert 0 < form["error"] < 0.25
    assert is_in_eight_bits(open_session(tmp_path / BACKBONE, threads=1))
    # The answers are those of the features that the served file computes
    logits = Small().predict(images, tmp_path)
    assert (logits.argmax(axis=1) == labels.targets).mean() > 0.9
    features = images.features(Small().name, tmp_path / BACKBONE, SIZE)
    found = served(Part(Small(), tmp_path), features, "int8")
    np.testing.assert_allclose(found, softmax(logits), atol=0.05)


def test_backbone_that_eight_bits_change_computes_in_floats(
    images: RowImages, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given ranges that were found with a plain image, outside which all others are
    plain = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    decoded = RowImages.pixels
    monkeypatch.setattr(
        RowImages,
        "pixels",
        lambda rows, size, most: plain if most == CALIBRATED else decoded(rows, size, most),
    )
    lines: list[str] = []
    context = replace(context_of("int8"), arithmetic="int8", log_line=lines.append)
    # When the candidate is fitted, then it computes in floats, and the log says why
    Small().fit(images, labels, tmp_path, context)
    form = json.loads((tmp_path / FORM).read_text())
    assert (form["arithmetic"], form["storage"]) == ("float", "int8")
    assert not is_in_eight_bits(open_session(tmp_path / BACKBONE, threads=1))
    assert "in int8, computed in int8: features are off by" in lines[0]


def test_backbone_reads_bytes_and_computes_the_features_of_keras(exact_fit: Path) -> None:
    backbone = onnx.load(exact_fit / BACKBONE)
    assert backbone.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(
        backbone.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(["features"], {IMAGE_INPUT: pixels})[0]
    expected = Small().build(None)(pixels.astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_tuned_block_is_exported_with_its_fitted_weights(
    images: RowImages,
    labels: Labels,
    int8_fit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a small network in Xception's place
    monkeypatch.setattr(xception, "build_network", lambda _weights: small_network())
    monkeypatch.setattr(xception, "SIZE", SIZE)
    settings = TuningSettings(
        head=HeadSettings(hidden=32, epochs=60, batch=8, learning_rate=1e-2, dropout=0.1),
        epochs=3,
        batch=8,
        top_learning_rate=1e-2,
    )
    candidate = XceptionTuned(settings=settings)
    # When its last block is fitted
    candidate.fit(images, labels, tmp_path, context_of("int8"))
    # Then the exported backbone computes other features, and the answers are right
    before = images.features("small", int8_fit / BACKBONE, SIZE)
    after = images.features(candidate.name, tmp_path / BACKBONE, SIZE)
    assert np.abs(before - after).max() > 0.01
    logits = candidate.predict(images, tmp_path)
    assert (logits.argmax(axis=1) == labels.targets).mean() > 0.9
    # And the large intermediate file is gone
    assert not (tmp_path / "maps.npy").exists()


def test_every_epoch_sees_every_image_once_with_its_label() -> None:
    features = np.arange(10, dtype=np.float16)[:, None]
    weights = np.linspace(0.5, 1, 10).astype(np.float32)
    batches = Batches(features, Labels(np.arange(10) % 3, weights, 3), batch=4, seed=0)
    orders = []
    for _ in range(2):
        seen = [batches[place] for place in range(len(batches))]
        rows, truth, counted = (np.concatenate(part) for part in zip(*seen, strict=True))
        order = rows.ravel().astype(int)
        assert sorted(order) == [*range(10)]
        assert truth.argmax(axis=1).tolist() == (order % 3).tolist()
        np.testing.assert_array_equal(counted, weights[order])
        orders.append(order.tolist())
        batches.on_epoch_end()
    assert orders[0] != orders[1]


def test_tuning_takes_officially_labelled_images_first() -> None:
    weights = np.array([0.7, 1, 0.7, 1, 0.7], np.float32)
    labels = Labels(np.zeros(5, np.int64), weights, 2)
    chosen = XceptionTuned(settings=TuningSettings(most_images=3))._chosen(labels, seed=0)
    assert len(chosen) == 3
    assert {1, 3} < set(chosen.tolist())
    assert XceptionTuned()._chosen(labels, seed=0).tolist() == [0, 1, 2, 3, 4]


def test_interrupted_maps_continue(images: RowImages, exact_fit: Path, tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    whole = images.maps(exact_fit / BACKBONE, SIZE, path)[:]
    # Given maps of which only the first eight were finished
    kept = np.lib.format.open_memmap(path, "r+")
    kept[:8], kept[8:] = -1, 0
    kept.flush()
    path.with_suffix(".done").write_text("8")
    # When the maps are computed again, then the first eight are left alone
    again = images.maps(exact_fit / BACKBONE, SIZE, path)
    np.testing.assert_array_equal(again[8:], whole[8:])
    assert (again[:8] == -1).all()
    assert again.shape == (30, *whole.shape[1:])
    assert len(again) == 30


def test_broken_images_are_not_readable(tmp_path: Path) -> None:
    good, cut, text = (tmp_path / name for name in ("good.jpg", "cut.jpg", "text.jpg"))
    Image.new("RGB", (60, 60), "red").save(good)
    cut.write_bytes(good.read_bytes()[:300])
    text.write_text("not an image")
    rows = pd.DataFrame({"image": [str(good), str(cut), str(text), str(tmp_path / "gone.jpg")]})
    assert readable(rows, 32).tolist() == [True, False, False, False]


@pytest.mark.parametrize("candidate", [*IMAGES, *ON_REQUEST_IMAGES, ChampionBackbone()])
def test_code_of_every_candidate_covers_what_computes_its_features(
    candidate: ImageCandidate,
) -> None:
    modules = SourceClosure().modules([candidate])
    assert {"trainer.candidates.image.head", "trainer.candidates.onnx.conversion"} <= modules
    # A closure that reached pipeline or settings would repeat every training at any edit
    assert not [name for name in modules if name.startswith(("trainer.pipeline", "shared.s"))]


@pytest.mark.parametrize("candidate", ON_REQUEST_IMAGES)
def test_code_of_fine_tuned_candidates_covers_their_networks_and_augmentation(
    candidate: ImageCandidate,
) -> None:
    modules = SourceClosure().modules([candidate])
    parts = ("xception", "efficientnet", "stages", "augmentation", "unfreezing")
    assert {f"trainer.candidates.image.{part}" for part in parts} <= modules


def test_code_of_resnet_covers_the_loading_of_its_weights() -> None:
    assert "trainer.candidates.imagenet" in SourceClosure().modules([ResNet50()])
