"""ONNX Runtime sessions for serving.

A graph in 8-bit arithmetic (`trainer.candidates.onnx.quantisation`) has two forms in one file. Its
operations in integers are two to three times as fast on processors with instructions for them. On
others the conversions may cost more than they save: "it is not rare to get worse performance on
old devices" (ONNX Runtime's documentation, "Quantize ONNX models"). There the same operations
compute in floats, with the same weights and without most of the conversions.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray

log = structlog.get_logger(__name__)

#: Key and value in the metadata of a graph in 8-bit arithmetic.
ARITHMETIC = "rayon_arithmetic"
EIGHT_BITS = "int8"
#: Names, in Linux's list of a processor's features, of instructions that add products of 8-bit
#: numbers: VNNI and AMX of x86, and the dot product of Arm.
INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
FEATURES = Path("/proc/cpuinfo")
#: Calls of each form that are timed; the fastest counts.
TIMED = 3
#: Rules that leave activations to the conversions, which the form in floats does not have.
REWRITES = ("ClipQuantRewrite", "ReluQuantRewrite")
#: Largest difference of the two forms' answers, as a share of the answer. They are a tenth apart;
#: without the activations, which other names of the rules would lose, many times the answer.
LARGEST_DIFFERENCE = 0.5
TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def open_session(
    path: Path, *, threads: int, in_floats: bool = False
) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the CPU.

    Args:
        path: The `.onnx` file.
        threads: Threads of one model call.
        in_floats: Compute a graph in 8-bit arithmetic in floats; others always do.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would take CPU from the process of the other lane.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not has_instructions():
        # Before VNNI, x86 adds two products of 8 bits in 16, which are too few for the largest.
        # Elsewhere this takes all of the speed from integers.
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    others: dict[str, Any] = {}
    if in_floats:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.enable_quant_qdq_cleanup", "1")
        others["disabled_optimizers"] = [*REWRITES]
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], **others
    )


def open_fastest(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX model in the form that is fast on this machine.

    Args:
        path: The `.onnx` file.
        threads: Threads of one model call.
    """
    session = open_session(path, threads=threads)
    if not is_in_eight_bits(session) or has_instructions():
        return session
    in_floats = open_session(path, threads=threads, in_floats=True)
    seconds, answer = timed(session)
    seconds_in_floats, answer_in_floats = timed(in_floats)
    difference = float(np.linalg.norm(answer_in_floats - answer) / np.linalg.norm(answer))
    is_faster = seconds_in_floats < seconds and difference <= LARGEST_DIFFERENCE
    log.info(
        "arithmetic_chosen",
        chosen="float" if is_faster else EIGHT_BITS,
        seconds=seconds,
        seconds_in_floats=seconds_in_floats,
        difference=difference,
    )
    return in_floats if is_faster else session


def is_in_eight_bits(session: onnxruntime.InferenceSession) -> bool:
    """Return True if a graph can compute in 8-bit arithmetic."""
    return bool(session.get_modelmeta().custom_metadata_map.get(ARITHMETIC) == EIGHT_BITS)


def has_instructions() -> bool:
    """Return True if this processor is known to have instructions for 8-bit arithmetic."""
    try:
        return not INSTRUCTIONS.isdisjoint(FEATURES.read_text("utf-8", "replace").split())
    except OSError:
        return False


def timed(session: onnxruntime.InferenceSession) -> tuple[float, NDArray[np.float32]]:
    """Return the CPU time of one call, in seconds, and its answer.

    Other processes hardly change CPU time.
    """
    example = {
        one.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in one.shape], TYPES[one.type]
        )
        for one in session.get_inputs()
    }
    answer: NDArray[np.float32] = session.run(None, example)[0]
    found = []
    for _ in range(TIMED):
        started = time.process_time()
        session.run(None, example)
        found.append(time.process_time() - started)
    return min(found), answer
