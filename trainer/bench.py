"""Benchmark of a release's ONNX models against the same models in TensorFlow, in one run.

A release does not contain the Keras models; the work folder of `train` keeps them in its steps.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from shared.errors import InvalidInput
from shared.inference.manifest import IMAGE_INPUT
from shared.inference.preparation.text import TextInputs
from trainer.candidates.calibration import softmax
from trainer.candidates.image.backbone import BACKBONE
from trainer.candidates.image.head import HEAD
from trainer.candidates.image.xception import SIZE, XceptionFrozen
from trainer.candidates.onnx.graph import OPSET, STORAGES
from trainer.candidates.registry import TEXT
from trainer.candidates.text.rnn import TextRnn
from trainer.datasets.folder import Dataset
from trainer.pipeline.export import export_head, export_text
from trainer.pipeline.fitting import Part
from trainer.pipeline.steps import MARKER
from trainer.pipeline.text.stage import prepared_texts

#: Duration of one measurement: long enough that a short stall does not decide.
SECONDS = 4.0
TEXT_BATCHES = (1, 16, 64, 256)
IMAGE_BATCHES = (1, 4)
#: Tokens in a benchmark text: between the challenge's median, 22, and the longest read, 96.
TEXT_TOKENS = 40

Call = Callable[[NDArray[np.generic]], object]


def bench_text(work: Path, threads: int) -> Iterator[str]:
    """Measure the recurrent network at the best batch size of each runtime; yield lines to print.

    Raises:
        InvalidInput: No run in `work` has fitted the network.
    """
    _limit_tensorflow(threads)
    candidate = TextRnn()
    folder = newest_fit(work, candidate.name)
    members = candidate.members(folder)
    generator = np.random.default_rng(0)
    batches = [
        generator.integers(2, 5000, (size, TEXT_TOKENS)).astype(np.int32) for size in TEXT_BATCHES
    ]
    signature = [tf.TensorSpec((None, None), tf.int32)]
    plain = tf.function(lambda x: _mean(members, x), input_signature=signature)
    with tempfile.TemporaryDirectory() as folder_name:
        export_text((Part(candidate, folder),), Path(folder_name), "int8")
        calls = {
            "onnx": _onnx(_session(Path(folder_name) / "model.onnx", threads), "tokens"),
            "tensorflow": plain,
            "onnx converted by tf2onnx": _onnx(
                _converted(plain, signature, Path(folder_name), threads), "x"
            ),
        }
        yield from _compare("texts", calls, batches)


def bench_image(weights: Path | None, work: Path, threads: int) -> Iterator[str]:
    """Measure Xception and its head at the best batch size of each runtime; yield lines to print.

    Raises:
        InvalidInput: No run in `work` has fitted the network.
    """
    candidate = XceptionFrozen()
    folder = newest_fit(work, candidate.name)
    head = keras.saving.load_model(folder / HEAD)
    backbone = candidate.build(weights and weights / candidate.weights_file)
    session = _session(folder / BACKBONE, threads)
    generator = np.random.default_rng(0)
    batches = [
        generator.integers(0, 256, (size, SIZE, SIZE, 3)).astype(np.uint8) for size in IMAGE_BATCHES
    ]
    signature = [tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8)]
    plain = tf.function(
        lambda x: head(backbone(tf.cast(x, tf.float32), training=False), training=False),
        input_signature=signature,
    )
    with tempfile.TemporaryDirectory() as folder_name:
        top = Path(folder_name) / "head.onnx"
        onnx.save(export_head((Part(candidate, folder),), "int8"), top)
        above = _session(top, threads)

        def both(pixels: NDArray[np.generic]) -> object:
            found = session.run(["features"], {IMAGE_INPUT: pixels})[0]
            return above.run(None, {"features": found})

        yield from _compare("images", {"onnx": both, "tensorflow": plain}, batches)


def bench_storage(data: Dataset, work: Path) -> Iterator[str]:
    """Measure the cost of small weights: each text candidate in 8 bits, half and full precision.

    Yields:
        Lines of a table: size, texts per second in batches, F1 on the `test` rows, and the largest
        difference from the probabilities of the fitted model.
    """
    rows = data.part("test", text=True)
    texts, targets = prepared_texts(rows), data.targets(rows)
    yield f"{'':<16}{'weights':<10}{'MB':>7}{'per s':>9}{'F1':>9}{'largest difference':>20}"
    for candidate in TEXT:
        folder = newest_fit(work, candidate.name)
        fitted = softmax(candidate.predict(texts, folder))
        score = f1_score(targets, fitted.argmax(axis=1), average="weighted")
        yield f"{candidate.name:<16}{'fitted':<10}{'':>7}{'':>9}{score:>9.4f}"
        for storage in STORAGES:
            with tempfile.TemporaryDirectory() as folder_name:
                reads = export_text((Part(candidate, folder),), Path(folder_name), storage)
                session = _session(Path(folder_name) / "model.onnx", 0)
                inputs = TextInputs.load(Path(folder_name), reads)
                started = time.perf_counter()
                found = np.concatenate(
                    [
                        session.run(None, inputs.of(texts[start : start + 64]))[0]
                        for start in range(0, len(texts), 64)
                    ]
                )
                rate = len(texts) / (time.perf_counter() - started)
                size = (Path(folder_name) / "model.onnx").stat().st_size / 1e6
            score = f1_score(targets, found.argmax(axis=1), average="weighted")
            largest = float(np.abs(found - fitted).max())
            yield (
                f"{candidate.name:<16}{storage:<10}{size:>7.1f}{rate:>9.0f}{score:>9.4f}"
                f"{largest:>20.5f}"
            )


def newest_fit(work: Path, name: str) -> Path:
    """Return the folder of a candidate's last finished fit. Raises `InvalidInput` if none."""
    found = [path.parent for path in (work / "steps").glob(f"{name}-fit-*/{MARKER}")]
    if not found:
        raise InvalidInput(f"Expected a finished fit of {name} in {work}. Received: none")
    return max(found, key=lambda folder: (folder / MARKER).stat().st_mtime)


def _compare(
    kind: str, calls: dict[str, Call], batches: Sequence[NDArray[np.generic]]
) -> Iterator[str]:
    rates = {
        name: {len(batch): _rate(call, batch) for batch in batches} for name, call in calls.items()
    }
    for name, found in rates.items():
        listed = ", ".join(f"{rate:.1f} at {size}" for size, rate in found.items())
        yield f"{kind}/s {name}: {max(found.values()):.1f} ({listed})"
    for name in list(rates)[1:]:
        # The best batch sizes differ, and a service mostly sees small batches.
        at = ", ".join(f"{rates['onnx'][n] / rates[name][n]:.2f} at {n}" for n in rates[name])
        best = max(rates["onnx"].values()) / max(rates[name].values())
        yield f"{kind}: onnx / {name} = {best:.2f} at the best batch of each ({at})"


def _converted(
    function: tf.types.experimental.GenericFunction,
    signature: Sequence[tf.TensorSpec],
    work: Path,
    threads: int,
) -> onnxruntime.InferenceSession:
    """Return the graph that tf2onnx makes, in which the recurrent layer is a loop."""
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
