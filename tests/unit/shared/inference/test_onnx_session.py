from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from shared.inference import onnx_session
from shared.inference.onnx_session import (
    ARITHMETIC,
    EIGHT_BITS,
    is_in_eight_bits,
    open_fastest,
    open_session,
    timed,
)
from tests.support.tiny_release import write_tiny_release


def test_session_uses_the_given_threads_and_does_not_spin(tmp_path: Path) -> None:
    folder = write_tiny_release(tmp_path / "release")
    session = open_session(folder / "text/model.onnx", threads=1)
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    probabilities = session.run(["probabilities"], {"tokens": np.ones((2, 7), np.int32)})[0]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_graph_in_floats_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "has_instructions", lambda: False)
    monkeypatch.setattr(onnx_session, "timed", lambda _: pytest.fail("there is nothing to choose"))
    folder = write_tiny_release(tmp_path / "release")
    session = open_fastest(folder / "text/model.onnx", threads=1)
    assert not is_in_eight_bits(session)


@pytest.mark.parametrize(
    ("seconds", "answers", "in_floats"),
    [
        pytest.param((0.2, 0.1), ([1.0, 2.0], [1.1, 2.0]), True, id="floats are faster"),
        pytest.param((0.1, 0.2), ([1.0, 2.0], [1.1, 2.0]), False, id="integers are faster"),
        pytest.param((0.2, 0.1), ([1.0, 2.0], [9.0, 2.0]), False, id="floats differ"),
        pytest.param((0.2, 0.1), ([1.0, 2.0], [np.nan, 2.0]), False, id="floats are broken"),
    ],
)
def test_form_is_chosen_by_its_speed_where_instructions_are_unknown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float],
    answers: tuple[list[float], list[float]],
    in_floats: bool,
) -> None:
    # Given a processor without instructions for 8-bit numbers, and a graph that can compute in them
    monkeypatch.setattr(onnx_session, "has_instructions", lambda: False)
    measured = iter(zip(seconds, map(np.array, answers), strict=True))
    monkeypatch.setattr(onnx_session, "timed", lambda _: next(measured))
    session = open_fastest(small_graph(tmp_path / "small.onnx"), threads=1)
    assert computes_in_floats(session) is in_floats


def test_processor_with_instructions_computes_in_eight_bits_without_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session, "has_instructions", lambda: True)
    monkeypatch.setattr(onnx_session, "timed", lambda _: pytest.fail("measured"))
    session = open_fastest(small_graph(tmp_path / "small.onnx"), threads=1)
    assert is_in_eight_bits(session)
    assert not computes_in_floats(session)


@pytest.mark.parametrize("instructions", [True, False])
def test_products_have_more_bits_only_where_instructions_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: bool
) -> None:
    monkeypatch.setattr(onnx_session, "has_instructions", lambda: instructions)
    options = open_session(small_graph(tmp_path / "small.onnx"), threads=1).get_session_options()
    assert has_entry(options, "session.x64quantprecision") is not instructions


def test_measurement_takes_time_and_returns_the_answer(tmp_path: Path) -> None:
    session = open_session(small_graph(tmp_path / "small.onnx"), threads=1)
    seconds, answer = timed(session)
    assert seconds > 0
    np.testing.assert_array_equal(answer, np.zeros((1, 4), np.float32))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni sha_ni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("Features\t: fp asimd asimddp", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        (None, False),
    ],
)
def test_instructions_are_read_from_the_list_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, expected: bool
) -> None:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(onnx_session, "FEATURES", path)
    if flags is not None:
        path.write_text(f"processor\t: 0\n{flags}\n")
    assert onnx_session.has_instructions() is expected


def computes_in_floats(session: onnxruntime.InferenceSession) -> bool:
    return has_entry(session.get_session_options(), "session.disable_quant_qdq")


def has_entry(options: onnxruntime.SessionOptions, name: str) -> bool:
    try:
        return bool(options.get_session_config_entry(name) == "1")
    except RuntimeError:
        return False


def small_graph(path: Path) -> Path:
    """Write a graph that doubles `(batch, 4)`, and says that it computes in 8 bits."""
    shape = ["batch", 4]
    graph = helper.make_graph(
        [helper.make_node("Add", ["values", "values"], ["doubled"])],
        "small",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("doubled", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {ARITHMETIC: EIGHT_BITS})
    onnx.save(model, path)
    return path
