"""Time and memory of fine-tuning an image network on as many images as the whole challenge has.

    make imagetuning DATA=folder WEIGHTS=folder NETWORK=xception MINUTES=5 THREADS=2

The images are those of DATA, each as often as needed. Each stage of the fine-tuning runs for its
share of MINUTES, after a first step that compiles; the time of its epochs is computed from these
steps. The features of whole images, which the head needs in the end, are timed on a few images. The
machine's load slows wall time, and CPU time hardly; that of decoding is in other processes, and is
in wall time only.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tensorflow as tf

from shared.errors import InvalidInput
from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from tests.bench.commands import run_command
from tests.bench.contexts import training_context
from tests.bench.image_networks import candidate_of, network_parser, require_weights
from tests.bench.load.datasets import ROWS
from tests.bench.load.memory import peak_megabytes, resident_megabytes
from trainer.candidates.image.augmentation import Augmentation
from trainer.candidates.image.backbone import export_backbone
from trainer.candidates.image.finetuning import FineTuned
from trainer.candidates.image.precision import fastest_precision
from trainer.candidates.image.stages import Stage, Training, batches
from trainer.candidates.protocols import FitContext, Labels
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.row_images import RowImages

MINUTES = 5.0
TIMED_FEATURES = 16


@dataclass(frozen=True)
class Measured:
    """Steps of a stage that were run.

    Attributes:
        images: Number of images.
        wall, cpu: Seconds that they took.
        resident: Memory of the process in MB: before the steps, after half of the time, at the end.
    """

    images: int
    wall: float
    cpu: float
    resident: tuple[float, float, float]


def main() -> int:
    """Fine-tune for some minutes and print the figures."""
    parser = network_parser(__doc__)
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="images of an epoch (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="of fine-tuning (default: %(default)s)"
    )
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    candidate = candidate_of(options)
    with tempfile.TemporaryDirectory() as temporary:
        context = training_context(options.data, Path(temporary), options.weights)
        require_weights(candidate, context.fit)
        images, labels = _many(context, options.rows)
        print(f"{len(images)} images, {options.threads} threads")
        seconds = options.minutes * 60 / len(candidate.settings.stages)
        wall, cpu = _measure_stages(candidate, images, labels, context.fit, seconds)
        features = _features(candidate, images, context.fit, context.settings.work, options.threads)
    hours = features * len(images) / 3600
    print(
        f"\nfeatures of whole images at {candidate.size} pixels: {features * 1000:.1f} ms an "
        f"image, {hours:.2f} hours\n{candidate.settings.epochs} epochs and features, computed: "
        f"{wall + hours:.1f} hours; CPU time of the epochs without decoding: {cpu:.1f} hours"
    )
    return 0


def _many(context: TrainingContext, rows: int) -> tuple[RowImages, Labels]:
    """Return as many images as asked for, those of the dataset again and again."""
    found = context.data.part("train", "weak", image=True)
    if not len(found):
        raise InvalidInput("Expected a dataset with images to fit on. Received: none")
    many = pd.concat([found] * -(-rows // len(found)), ignore_index=True)[:rows]
    return RowImages(many, context.features, lambda _: None), context.labels(many)


def _measure_stages(
    candidate: FineTuned, images: RowImages, labels: Labels, context: FitContext, seconds: float
) -> tuple[float, float]:
    """Run each stage for some seconds and print its line; return wall and CPU hours of all."""
    file = None if context.weights is None else context.weights / candidate.frozen.weights_file
    backbone = candidate.frozen.build(file)
    precision = fastest_precision(backbone, print)
    training = Training(
        candidate.name, backbone, labels.classes, candidate.settings, context, precision
    )
    print(f"computed in {precision}\n")
    print(
        "| pixels | layers | epochs | images run | ms an image | CPU ms | hours an epoch "
        "| resident MB: before, half, end | peak |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    wall = cpu = 0.0
    for stage in candidate.settings.stages:
        one = _measured(training, stage, images, labels, seconds)
        hours = one.wall / one.images * len(images) / 3600
        wall += hours * stage.epochs
        cpu += one.cpu / one.images * len(images) / 3600 * stage.epochs
        print(
            f"| {stage.size} | {stage.share:.0%} | {stage.epochs} | {one.images} "
            f"| {one.wall / one.images * 1000:.1f} | {one.cpu / one.images * 1000:.1f} "
            f"| {hours:.2f} | {', '.join(f'{each:.0f}' for each in one.resident)} "
            f"| {peak_megabytes():.0f} |",
            flush=True,
        )
    return wall, cpu


def _measured(
    training: Training, stage: Stage, images: RowImages, labels: Labels, seconds: float
) -> Measured:
    settings = training.settings
    training.begin(stage, len(images))
    augmentation = Augmentation(stage.size, settings.augmentation, seed=0)
    reader = iter(batches(images, labels, stage.size, settings.batch, seed=0))
    # Each kind of mixed batches compiles with the first.
    training.step(augmentation, *next(reader))
    resident, run = [resident_megabytes()], 0
    started, used = time.perf_counter(), time.process_time()
    for pixels, truth in reader:
        training.step(augmentation, pixels, truth)
        run += len(pixels)
        passed = time.perf_counter() - started
        if len(resident) == 1 and passed >= seconds / 2:
            resident.append(resident_megabytes())
        if passed >= seconds:
            break
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    last = resident_megabytes()
    return Measured(run, wall, cpu, (resident[0], resident[-1], last))


def _features(
    candidate: FineTuned, images: RowImages, context: FitContext, folder: Path, threads: int
) -> float:
    """Return the seconds that the served network takes for an image."""
    path = folder / "backbone.onnx"
    file = None if context.weights is None else context.weights / candidate.frozen.weights_file
    export_backbone(candidate.frozen.build(file), candidate.size, path, context.storage)
    session = open_session(path, threads=threads)
    pixels = images.pixels(candidate.size, TIMED_FEATURES)
    session.run(None, {IMAGE_INPUT: pixels[:1]})
    started = time.perf_counter()
    for one in pixels:
        session.run(None, {IMAGE_INPUT: one[None]})
    return (time.perf_counter() - started) / len(pixels)


if __name__ == "__main__":
    run_command(main)
