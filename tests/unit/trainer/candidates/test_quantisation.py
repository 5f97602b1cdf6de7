from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import REWRITES, is_in_eight_bits, open_session
from tests.support.convolutions import separable_network
from trainer.candidates.onnx.quantisation import (
    Ranges,
    clipped,
    folded,
    in_eight_bits,
    layer_errors,
    observed,
    quantised,
)

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
SIZE = 32


@pytest.fixture(scope="module")
def images() -> Pixels:
    """Return 40 images of coarse noise, each of another contrast."""
    generator = np.random.default_rng(0)
    coarse = generator.normal(size=(40, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    contrast = generator.uniform(10, 80, (40, 1, 1, 1))
    return np.clip(128 + coarse * contrast, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def exact() -> onnx.ModelProto:
    return folded(separable_network(SIZE))


@pytest.fixture(scope="module")
def ranges(exact: onnx.ModelProto, images: Pixels) -> Ranges:
    return clipped(observed(exact, images[:30]))


@pytest.fixture(scope="module")
def files(images: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the network in both arithmetics."""
    folder = tmp_path_factory.mktemp("networks")
    network = separable_network(SIZE)
    models = {"floats": network, "eight_bits": in_eight_bits(network, images[:30])}
    for name, model in models.items():
        onnx.save(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in models}


def features(path: Path, images: Pixels, *, in_floats: bool = False) -> Floats:
    session = open_session(path, threads=1, in_floats=in_floats)
    rows = [session.run(["features"], {IMAGE_INPUT: one[None]})[0] for one in images]
    return np.concatenate(rows)


def error(found: Floats, expected: Floats) -> float:
    deviation = np.linalg.norm(expected - expected.mean(axis=0))
    return float(np.linalg.norm(found - expected) / deviation)


def operations(path: Path, optimised: Path, *, in_floats: bool = False) -> list[str]:
    """Return the operations of a graph as ONNX Runtime computes them."""
    options = open_session(path, threads=1, in_floats=in_floats).get_session_options()
    options.optimized_model_filepath = str(optimised)
    onnxruntime.InferenceSession(
        str(path),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[*REWRITES] if in_floats else None,
    )
    return [node.op_type for node in onnx.load(optimised).graph.node]


def test_features_in_eight_bits_agree_with_floats(files: dict[str, Path], images: Pixels) -> None:
    expected = features(files["floats"], images[30:])
    assert 0.001 < error(features(files["eight_bits"], images[30:]), expected) < 0.15


def test_convolutions_compute_with_integers(files: dict[str, Path], tmp_path: Path) -> None:
    found = operations(files["eight_bits"], tmp_path / "integers.onnx")
    assert found.count("QLinearConv") == 6
    assert not {"Conv", "FusedConv"} & set(found)


def test_same_file_computes_in_floats_with_its_activations(
    files: dict[str, Path], images: Pixels, tmp_path: Path
) -> None:
    found = operations(files["eight_bits"], tmp_path / "floats.onnx", in_floats=True)
    assert "QLinearConv" not in found
    # A tensor that two convolutions read keeps its conversion
    assert found.count("QuantizeLinear") <= 1
    # Without the activations, the features would be off by several times their deviation
    expected = features(files["floats"], images[30:])
    in_floats = features(files["eight_bits"], images[30:], in_floats=True)
    assert error(in_floats, expected) < error(features(files["eight_bits"], images[30:]), expected)


def test_batches_give_the_answers_of_single_images(files: dict[str, Path], images: Pixels) -> None:
    session = open_session(files["eight_bits"], threads=1)
    together = session.run(["features"], {IMAGE_INPUT: images[:4]})[0]
    np.testing.assert_allclose(together, features(files["eight_bits"], images[:4]), atol=1e-5)


def test_file_says_that_it_can_compute_in_eight_bits(files: dict[str, Path]) -> None:
    assert is_in_eight_bits(open_session(files["eight_bits"], threads=1))
    assert not is_in_eight_bits(open_session(files["floats"], threads=1))
    output = onnx.load(files["eight_bits"]).graph.output[0]
    assert output.type.tensor_type.shape.dim[-1].dim_value == 48


def test_conversion_is_reproducible(images: Pixels) -> None:
    once, again = (in_eight_bits(separable_network(SIZE), images[:4]) for _ in range(2))
    assert once.SerializeToString() == again.SerializeToString()


def test_ranges_leave_out_a_share_of_the_numbers(exact: onnx.ModelProto, images: Pixels) -> None:
    tensors = observed(exact, images[:8])
    whole, most = clipped(tensors, 0), clipped(tensors, 0.1)
    for name, one in tensors.items():
        assert whole[name] == (one.lowest, one.highest)
        low, high = most[name]
        assert one.lowest <= low <= high <= one.highest
        assert ((one.some >= low) & (one.some <= high)).mean() > 0.89
    assert sum(most[name][1] < whole[name][1] for name in tensors) > len(tensors) / 2


def test_ranges_of_other_images_lose_the_features(
    exact: onnx.ModelProto, images: Pixels, files: dict[str, Path], tmp_path: Path
) -> None:
    # Given ranges from images that are all alike
    plain = np.full((4, SIZE, SIZE, 3), 128, np.uint8)
    onnx.save(quantised(exact, clipped(observed(exact, plain))), tmp_path / "wrong.onnx")
    expected = features(files["floats"], images[30:])
    assert error(features(tmp_path / "wrong.onnx", images[30:]), expected) > 0.25


def test_layer_in_floats_is_exact(exact: onnx.ModelProto, ranges: Ranges, images: Pixels) -> None:
    names = [node.name for node in exact.graph.node if node.op_type == "Conv"]
    every = layer_errors(exact, quantised(exact, ranges), images[:4])
    but_first = layer_errors(exact, quantised(exact, ranges, in_floats=names[:1]), images[:4])
    assert [*every] == names
    assert every[names[0]] > 0.001
    assert but_first[names[0]] < 1e-5
    assert but_first[names[-1]] > 0.001
