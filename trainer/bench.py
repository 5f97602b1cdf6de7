"""Speed of a release's ONNX models beside the same models in TensorFlow, in one run.

The Keras models are not shipped: the folder that `train` worked in holds them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from shared.errors import InvalidInput
from trainer.graph import OPSET
from trainer.models.image_xception import build_backbone

#: Long enough that a pause of the machine does not decide.
SECONDS = 4.0
TEXT_BATCHES = (1, 16, 64, 256)
IMAGE_BATCHES = (1, 4)
#: Tokens of a benchmark text: between the challenge's median, 22, and the longest read, 96.
TEXT_TOKENS = 40

Call = Callable[[NDArray[np.generic]], object]


def bench_text(release: Path, work: Path, threads: int) -> Iterator[str]:
    """Measure the text model, best batch of each; yields lines to print.

    Raises:
        InvalidInput: `work` has no Keras models.
    """
    _limit_tensorflow(threads)
    paths = sorted(work.glob("text_*.keras"))
    if not paths:
        raise InvalidInput(f"Expected text_*.keras in {work}, from `train`. Received: none")
    members = [keras.saving.load_model(path) for path in paths]
    session = _session(release / "text/model.onnx", threads)
    generator = np.random.default_rng(0)
    batches = [
        generator.integers(1, 5000, (size, TEXT_TOKENS)).astype(np.int32) for size in TEXT_BATCHES
    ]
    signature = [tf.TensorSpec((None, None), tf.int32)]
    plain = tf.function(lambda x: _mean(members, x), input_signature=signature)
    calls = {
        "onnx": _onnx(session, "tokens"),
        "tensorflow": plain,
        "onnx converted by tf2onnx": _onnx(_converted(plain, signature, work, threads), "x"),
    }
    yield from _compare("texts", calls, batches)


def bench_image(release: Path, weights: Path | None, work: Path, threads: int) -> Iterator[str]:
    """Measure the picture model, best batch of each; yields lines to print."""
    head = keras.saving.load_model(work / "image_head.keras")
    backbone = build_backbone(weights)
    session = _session(release / "image/model.onnx", threads)
    generator = np.random.default_rng(0)
    batches = [
        generator.integers(0, 256, (size, 299, 299, 3)).astype(np.uint8) for size in IMAGE_BATCHES
    ]
    signature = [tf.TensorSpec((None, 299, 299, 3), tf.uint8)]
    plain = tf.function(
        lambda x: tf.nn.softmax(
            head(backbone(tf.cast(x, tf.float32), training=False), training=False)
        ),
        input_signature=signature,
    )
    calls = {"onnx": _onnx(session, "pictures"), "tensorflow": plain}
    yield from _compare("pictures", calls, batches)


def _compare(
    what: str, calls: dict[str, Call], batches: Sequence[NDArray[np.generic]]
) -> Iterator[str]:
    rates = {
        name: {len(batch): _rate(call, batch) for batch in batches} for name, call in calls.items()
    }
    for name, found in rates.items():
        listed = ", ".join(f"{rate:.1f} at {size}" for size, rate in found.items())
        yield f"{what}/s {name}: {max(found.values()):.1f} ({listed})"
    for name in list(rates)[1:]:
        # One's best batch is not the other's; a service mostly sees the small ones.
        at = ", ".join(f"{rates['onnx'][n] / rates[name][n]:.2f} at {n}" for n in rates[name])
        best = max(rates["onnx"].values()) / max(rates[name].values())
        yield f"{what}: onnx / {name} = {best:.2f} at the best batch of each ({at})"


def _converted(
    function: tf.types.experimental.GenericFunction,
    signature: Sequence[tf.TensorSpec],
    work: Path,
    threads: int,
) -> onnxruntime.InferenceSession:
    """What one gets without writing the graph by hand: the recurrent layer becomes a loop."""
    path = work / "text_converted.onnx"
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, output_path=str(path)
    )
    return _session(path, threads)


def _rate(call: Call, batch: NDArray[np.generic]) -> float:
    call(batch)
    started, items = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        call(batch)
        items += len(batch)
    return items / (time.perf_counter() - started)


def _mean(members: Sequence[keras.Model], tokens: tf.Tensor) -> tf.Tensor:
    logits = [member(tokens, training=False) for member in members]
    return tf.nn.softmax(tf.add_n(logits) / len(members))


def _onnx(session: onnxruntime.InferenceSession, name: str) -> Call:
    return lambda batch: session.run(None, {name: batch})


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _limit_tensorflow(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
