"""ONNX Runtime sessions for serving."""

from pathlib import Path

import onnxruntime


def open_session(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the CPU.

    Args:
        path: The `.onnx` file.
        threads: Threads of one model call.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would take CPU from the process of the other lane.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
