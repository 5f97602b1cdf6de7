"""An image network is fine-tuned in stages, with a small one in Xception's place."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from shared.inference.manifest import IMAGE_INPUT
from tests.model.test_image_candidates import (
    SIZE,
    context_of,
    images,
    labels,
    served,
    with_pixels,
)
from trainer.candidates.calibration import softmax
from trainer.candidates.image import precision, stages
from trainer.candidates.image.augmentation import Augmentation, AugmentationSettings
from trainer.candidates.image.backbone import BACKBONE
from trainer.candidates.image.finetuning import FINE_TUNED, FineTuned
from trainer.candidates.image.head import FrozenBackbone, HeadSettings
from trainer.candidates.image.stages import FineTuningSettings, Stage, Training, finished_epochs
from trainer.candidates.image.unfreezing import resizable, unfreeze
from trainer.candidates.protocols import Labels
from trainer.pipeline.fitting import Part
from trainer.pipeline.row_images import RowImages

__all__ = ["images", "labels"]

#: Head only; then the upper half in two epochs; then all layers, on larger images.
STAGES = (Stage(16, 1, 0.0), Stage(16, 2, 0.5), Stage(24, 1, 1.0))
SETTINGS = FineTuningSettings(
    stages=STAGES,
    batch=8,
    learning_rate=1e-2,
    head_rate=1e-2,
    average=0.8,
    # Its operations are traced anew in each epoch, which takes seconds.
    augmentation=AugmentationSettings(operations=0),
    head=HeadSettings(hidden=32, epochs=30, batch=8, learning_rate=1e-2, dropout=0.1),
)


@dataclass(frozen=True)
class Tiny(FrozenBackbone):
    name: str = "image_tiny"
    size: int = SIZE
    weights_file: str = "tiny.npz"
    settings: HeadSettings = field(default_factory=HeadSettings)

    def build(self, weights: Path | None) -> keras.Model:
        return with_pixels(tiny_network())


class Killed(Exception):
    """The process ends here."""


def tiny_network() -> keras.Model:
    """Build four convolutions with batch statistics; the last has 16 features."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    value = layers.Conv2D(8, 3, strides=2, use_bias=False, name="first")(pixels)
    for number in range(3):
        value = layers.BatchNormalization()(value)
        value = layers.Activation("relu")(value)
        # Features of about 1, as those of trained networks.
        kernels = {
            f"{one}_initializer": keras.initializers.VarianceScaling(4.0, seed=number)
            for one in ("depthwise", "pointwise")
        }
        name = f"conv{number}"
        value = layers.SeparableConv2D(16, 3, padding="same", name=name, **kernels)(value)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(value))


CANDIDATE = FineTuned("image_tiny_all_layers", Tiny(), SETTINGS)


@pytest.fixture(scope="module", autouse=True)
def full_precision() -> Iterator[None]:
    """Compute in float32, as processors without instructions for bfloat16 do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "computes_bfloat16", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def fitted(images: RowImages, labels: Labels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit the candidate once, without an interruption."""
    folder = tmp_path_factory.mktemp("fitted")
    CANDIDATE.fit(images, labels, folder, context_of("float32"))
    return folder


def training() -> Training:
    return Training("image_tiny", Tiny().build(None), 3, SETTINGS, context_of("float32"))


def features_of(backbone: Path) -> np.ndarray:
    """Return the features of some images by an exported backbone."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(backbone, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], {IMAGE_INPUT: pixels})[0])


def test_served_model_is_the_fitted_one(images: RowImages, labels: Labels, fitted: Path) -> None:
    logits = CANDIDATE.predict(images, fitted)
    assert (logits.argmax(axis=1) == labels.targets).mean() > 0.9
    features = images.features(CANDIDATE.name, fitted / BACKBONE, SIZE)
    found = served(Part(CANDIDATE, fitted, temperature=1.5), features, "float32")
    np.testing.assert_allclose(found, softmax(logits / 1.5), atol=1e-4)
    # And its backbone reads images of the size of serving, and is not that of ImageNet any more
    frozen = Tiny().build(None)
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)
    assert np.abs(features_of(fitted / BACKBONE) - frozen(pixels).numpy()).max() > 0.01
    # And nothing of the fit remains
    assert not finished_epochs(fitted)


def test_resumed_fit_equals_an_uninterrupted_one(
    images: RowImages, labels: Labels, fitted: Path, tmp_path: Path
) -> None:
    lines: list[str] = []

    def fit(die_at: str) -> None:
        def log_line(line: str) -> None:
            lines.append(line)
            if die_at in line:
                raise Killed

        CANDIDATE.fit(images, labels, tmp_path, replace(context_of("float32"), log_line=log_line))

    # Given a fit that is killed at the end of a stage, within one, and after the last epoch
    for finished, die_at in ((1, "epoch 2 of"), (2, "epoch 3 of"), (4, "backbone in")):
        with pytest.raises(Killed):
            fit(die_at)
        assert [number for number, _ in finished_epochs(tmp_path)] == [finished]
    # When it starts again, then no finished epoch has run twice, and the weights are the same
    fit("no such line")
    epochs = [line.partition(": epoch ")[2][0] for line in lines if ": epoch " in line]
    assert epochs == ["1", "2", "2", "3", "3", "4"]
    np.testing.assert_allclose(
        features_of(tmp_path / BACKBONE), features_of(fitted / BACKBONE), atol=1e-4
    )


def test_layers_next_to_the_output_are_unfrozen_first() -> None:
    # Given the layers that learn in each stage
    found = []
    run = training()
    for stage in STAGES:
        run.begin(stage, images=30)
        found.append({one.path.split("/")[-2] for one in run.network.trainable_variables})
    # Then the head is first, next are the upper layers, and all of them last
    assert found == [
        {"logits"},
        {"logits", "conv2", "conv1"},
        {"logits", "conv2", "conv1", "conv0", "first"},
    ]


def test_layers_learn_at_rates_that_fall_towards_the_input() -> None:
    run = training()
    run.begin(Stage(16, 1, 1.0), images=30)
    factors = run.network.optimizer._factors
    names = [one.path.split("/")[-2] for one in run.network.trainable_variables]
    rates = dict(zip(names, factors, strict=True))
    assert rates["logits"] == SETTINGS.head_rate / SETTINGS.learning_rate
    assert 0 < rates["first"] < rates["conv0"] < rates["conv1"] < rates["conv2"] <= 1


def test_frozen_layers_and_batch_statistics_stay_as_they_were(
    images: RowImages, labels: Labels, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, stages=(Stage(16, 2, 0.5),))
    backbone = Tiny().build(None)
    before = backbone.get_weights()
    run = Training("image_tiny", backbone, 3, settings, context_of("float32"))
    run.run(images, labels, tmp_path)
    changed = {
        one.path.split("/")[-2]
        for one, old in zip(run.features.weights, before, strict=True)
        if np.abs(one.numpy() - old).max() > 0
    }
    assert changed == {"conv1", "conv2"}
    # And the network that it started from is unchanged
    for one, old in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, old)


def test_exported_weights_are_the_moving_average_of_the_last_stage(
    images: RowImages, labels: Labels, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the weights after each step
    steps: list[list[np.ndarray]] = []
    step = Training.step

    def recorded(run: Training, *batch: object) -> float:
        loss = step(run, *batch)  # type: ignore[arg-type]
        steps.append(run.features.get_weights())
        return loss

    monkeypatch.setattr(Training, "step", recorded)
    run = training()
    run.run(images, labels, tmp_path)
    # When their average over the steps of the last stage is computed
    last = steps[-(30 // SETTINGS.batch) :]
    average = last[0]
    for weights in last[1:]:
        average = [
            SETTINGS.average * old + (1 - SETTINGS.average) * new
            for old, new in zip(average, weights, strict=True)
        ]
    # Then it, and not the weights of the last step, has the features of the exported network
    network = Tiny().build(None)
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)
    network.set_weights(average)
    exported = features_of(fitted / BACKBONE)
    np.testing.assert_allclose(network(pixels).numpy(), exported, atol=1e-4)
    network.set_weights(last[-1])
    assert np.abs(network(pixels).numpy() - exported).max() > 1e-2


def test_loss_of_an_epoch_is_the_mean_of_its_batches(
    images: RowImages, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[float] = []
    epochs: list[float] = []
    step = Training.step

    def recorded(run: Training, *batch: object) -> float:
        batches.append(step(run, *batch))  # type: ignore[arg-type]
        return batches[-1]

    monkeypatch.setattr(Training, "step", recorded)
    context = replace(context_of("float32"), curve=lambda *point: epochs.append(point[2]))
    settings = replace(SETTINGS, stages=STAGES[:1])
    run = Training("image_tiny", Tiny().build(None), 3, settings, context)
    run.run(images, labels, tmp_path)
    assert epochs == [pytest.approx(np.mean(batches))]
    assert len(batches) == 3


@pytest.mark.parametrize("candidate", FINE_TUNED, ids=lambda one: one.name)
def test_missing_weights_are_named(candidate: FineTuned, tmp_path: Path) -> None:
    context = replace(context_of("int8"), weights=tmp_path)
    expected = f"Expected {candidate.frozen.weights_file} in the folder of weights. Received: none"
    assert candidate.unavailable_reason(context) == expected
    (tmp_path / candidate.frozen.weights_file).touch()
    assert candidate.unavailable_reason(context) is None


def test_copy_reads_images_of_any_size_and_has_the_same_features() -> None:
    backbone = Tiny().build(None)
    copy = resizable(backbone, "float32")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(copy(pixels).numpy(), backbone(pixels).numpy(), atol=1e-5)
    assert copy(pixels[:, :20, :20]).shape == (2, 16)


def test_copy_in_bfloat16_keeps_its_weights_in_full_precision() -> None:
    backbone = Tiny().build(None)
    copy = resizable(backbone, "mixed_bfloat16")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
    found, expected = copy(pixels), backbone(pixels).numpy()
    assert found.dtype == tf.float32
    assert {one.dtype for one in copy.weights} == {"float32"}
    difference = np.abs(found.numpy() - expected).max()
    assert 0 < difference < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("fastest", precision.PRECISIONS)
def test_fit_computes_in_the_faster_precision_and_continues_with_it(
    fastest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a processor with instructions for bfloat16, and the times of both
    lines: list[str] = []
    monkeypatch.setattr(precision, "computes_bfloat16", lambda *_: True)
    monkeypatch.setattr(precision, "step_seconds", lambda _, one: 1 + (one != fastest))
    found = precision.kept_precision(Tiny().build(None), tmp_path, lines.append)
    # Then the faster one is chosen, and the log has the times
    assert found == fastest
    assert "float32" in lines[0]
    # And a fit that continues keeps it, whatever would be faster then
    monkeypatch.setattr(precision, "step_seconds", lambda *_: pytest.fail("timed again"))
    assert precision.kept_precision(Tiny().build(None), tmp_path, lines.append) == fastest


def test_timed_step_changes_nothing() -> None:
    backbone = Tiny().build(None)
    before = backbone.get_weights()
    assert precision.step_seconds(backbone, "mixed_bfloat16") > 0
    for one, old in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, old)


@pytest.mark.parametrize(("share", "learning"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_share_of_the_layers_learns(share: float, learning: int) -> None:
    copy = resizable(Tiny().build(None), "float32")
    unfreeze(copy, share)
    assert len({one.path.split("/")[-2] for one in copy.trainable_variables}) == learning


def test_every_image_comes_with_its_label_and_weight(images: RowImages) -> None:
    weights = np.linspace(0.5, 1, 30).astype(np.float32)
    truth = Labels(np.arange(30) % 3, weights, 3)
    orders = []
    for seed in (0, 1):
        batches = [*stages.batches(images, truth, SIZE, 8, seed)]
        assert len(batches) == stages.steps_of(30, 8) == 3
        pixels, found = (np.concatenate(part) for part in zip(*batches, strict=True))
        # An image's colour is its category
        np.testing.assert_array_equal(
            pixels.mean(axis=(1, 2)).argmax(axis=1), found[:, :3].argmax(1)
        )
        places = np.searchsorted(weights, found[:, 3])
        assert len(set(places)) == 24
        np.testing.assert_array_equal(places % 3, found[:, :3].argmax(axis=1))
        orders.append(places.tolist())
    assert orders[0] != orders[1]


def test_fewer_images_than_a_batch_are_one_step(images: RowImages, labels: Labels) -> None:
    few = np.arange(5)
    batches = [*stages.batches(images.take(few), labels.take(few), SIZE, 8, 0)]
    assert [len(pixels) for pixels, _ in batches] == [5]
    assert stages.steps_of(5, 8) == 1


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3)).astype(np.uint8)
TRUTH = np.concatenate([np.eye(6), np.linspace(0.5, 1, 6)[:, None]], axis=1).astype(np.float32)


@pytest.mark.parametrize("mixed", [0.0, 1.0])
def test_augmented_images_are_pixels_and_their_labels_distributions(mixed: float) -> None:
    augmentation = Augmentation(32, AugmentationSettings(mixed=mixed), seed=3)
    for _ in range(8):
        found, truth = (one.numpy() for one in augmentation(PIXELS, TRUTH))
        assert found.shape == (6, 32, 32, 3)
        assert found.min() >= 0
        assert found.max() <= 255.01
        np.testing.assert_allclose(truth[:, :-1].sum(axis=1), 1, atol=1e-5)
        # The weight of a mixed image is mixed as its label is
        np.testing.assert_allclose(truth[:, -1], truth[:, :-1] @ TRUTH[:, -1], atol=1e-5)
        assert mixed or np.array_equal(truth, TRUTH)


def test_equal_seeds_augment_equally() -> None:
    def augmented(seed: int) -> np.ndarray:
        augmentation = Augmentation(32, AugmentationSettings(), seed)
        return np.stack([augmentation(PIXELS, TRUTH)[0].numpy() for _ in range(4)])

    found = augmented(1)
    np.testing.assert_array_equal(found, augmented(1))
    assert np.abs(found - augmented(2)).max() > 1
    # And every batch is augmented in another way
    assert np.abs(found[1:] - found[:-1]).max(axis=(1, 2, 3, 4)).min() > 1


def test_crop_of_the_whole_image_is_the_image_or_its_mirror() -> None:
    weak = AugmentationSettings(least_area=1.0, operations=0, mixed=0.0)
    image = np.repeat(np.arange(0, 240, 40, dtype=np.uint8)[None, None, :, None], 3, axis=3)
    images = np.repeat(np.repeat(image, 6, axis=1), 40, axis=0)
    found = Augmentation(6, weak, seed=0)(images, np.zeros((40, 2), np.float32))[0].numpy()
    is_mirrored = found[:, 0, 0, 0] > 100
    assert 0 < is_mirrored.sum() < 40
    upright = np.where(is_mirrored[:, None, None, None], found[:, :, ::-1], found)
    # The ratio of its sides is drawn too, so that a little of the longer one may be cut off
    assert np.abs(upright - images).max() < 45
