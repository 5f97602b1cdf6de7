from pathlib import Path

import numpy as np
import onnxruntime

from shared.inference.onnx_session import open_session
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
