"""Compare forms of an image backbone: speed, features and F1 beside floats, in one run.

    make eightbits DATA=../shared/data/rakuten WEIGHTS=../shared/weights KEEP=/tmp/eightbits

Each form in 8-bit arithmetic is a way to find ranges; the `in floats` ones leave those layers in
floats whose outputs are off most. For each form, a head is fitted on its features and scores the
official test images; `old head` is that of the floats. F1 is plain and by official shares, with the
paired difference to the floats and its 95 % interval. Images per second are those of two threads,
as a ratio to the floats, which are timed in turn with the form. Pixels and features are kept.
"""

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector
from sklearn.metrics import f1_score

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from trainer.candidates.calibration import softmax
from trainer.candidates.image.backbone import CALIBRATED, write_backbone
from trainer.candidates.image.head import HeadSettings, fit_head
from trainer.candidates.image.pair import XceptionAndEfficientNet
from trainer.candidates.onnx.conversion import as_onnx
from trainer.candidates.onnx.quantisation import (
    Observed,
    Ranges,
    clipped,
    folded,
    layer_errors,
    observed,
    quantised,
)
from trainer.candidates.protocols import FitContext, Labels
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline.context import is_official
from trainer.pipeline.row_images import RowImages
from trainer.release.evaluation import official_weights

Floats = NDArray[np.float32]

THREADS = 2
#: Images of a timing, and its repetitions; the fastest counts.
TIMED, ROUNDS = 8, 3
#: Resamples of the paired difference.
RESAMPLES = 1000
WEAK_WEIGHT = 0.7
FLOATS = "floats"
CANDIDATE = XceptionAndEfficientNet()


@dataclass(frozen=True)
class Rows:
    """Rows of the comparison: to fit on, and to measure."""

    data: Dataset
    fit: pd.DataFrame
    test: pd.DataFrame

    @property
    def labels(self) -> Labels:
        """Labels to fit on."""
        weights = np.where(is_official(self.fit), 1.0, WEAK_WEIGHT).astype(np.float32)
        return Labels(self.data.targets(self.fit), weights, len(self.data.categories))


def main() -> int:
    """Write, time, fit and compare the forms."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of ImageNet weights")
    parser.add_argument("--keep", type=Path, required=True, help="folder of pixels and features")
    parser.add_argument("--weak", type=int, default=1000, help="weakly labelled images to fit on")
    parser.add_argument("--in-floats", type=int, default=6, help="layers left in floats")
    parser.add_argument("--seeds", type=int, default=3, help="heads of each form")
    parser.add_argument("--only", nargs="*", help="forms to compare; by default all")
    options = parser.parse_args()
    data = load(options.data)
    fit = data.part("train", "validation", "weak", image=True)
    weak = fit[~is_official(fit)]
    left_out = weak.sample(max(0, len(weak) - options.weak), random_state=0).index
    rows = Rows(data, fit.drop(index=left_out), data.part("test", image=True))
    options.keep.mkdir(parents=True, exist_ok=True)
    forms = _written(rows, options.weights, options.keep, options.in_floats)
    chosen = {name: forms[name] for name in forms if not options.only or name in options.only}
    answers: dict[str, Answers] = {}
    print(f"fitted on {len(rows.fit)} images, measured on {len(rows.test)}")
    for name, path in {FLOATS: forms[FLOATS], **chosen}.items():
        answers[name] = _answers(rows, path, options.keep, options.seeds, answers.get(FLOATS))
        print(_line(name, path, forms[FLOATS], rows, answers), flush=True)
    return 0


@dataclass(frozen=True)
class Answers:
    """Answers for the test rows.

    Attributes:
        features: Features of the test rows, shape `(rows, features)`.
        heads: Fitted heads, one for each seed.
        fitted: Probabilities by the form's own heads, shape `(seeds, rows, classes)`.
        old: The same by the heads of the floats.
    """

    features: Floats
    heads: list[Callable[..., Floats]]
    fitted: Floats
    old: Floats


def _written(rows: Rows, weights: Path, keep: Path, most: int) -> dict[str, Path]:
    """Write the backbone in each form; return their files."""
    names = [
        FLOATS,
        "largest",
        "percentile",
        "entropy",
        "percentile, in floats",
        "entropy, in floats",
    ]
    paths = {name: keep / f"{name.replace(', ', '-').replace(' ', '-')}.onnx" for name in names}
    if all(path.exists() for path in paths.values()):
        return paths
    model = as_onnx(CANDIDATE.build(weights / CANDIDATE.weights_file), CANDIDATE.size)
    # As image networks are shipped today.
    write_backbone(model, CANDIDATE.size, paths[FLOATS], "int8")
    write_backbone(model, CANDIDATE.size, keep / "exact.onnx", "float32")
    exact = folded(onnx.load(keep / "exact.onnx"))
    pixels = RowImages(rows.fit, keep, print).pixels(CANDIDATE.size, CALIBRATED)
    tensors = observed(exact, pixels)
    ranges = {
        "largest": clipped(tensors, 0),
        "percentile": clipped(tensors),
        "entropy": by_entropy(tensors),
    }
    for name, found in ranges.items():
        onnx.save(quantised(exact, found), paths[name])
    errors = layer_errors(exact, onnx.load(paths["percentile"]), pixels[:4])
    worst = sorted(errors, key=lambda name: errors[name], reverse=True)[:most]
    print("layers in floats:", ", ".join(f"{name} {errors[name]:.2f}" for name in worst))
    for name in ("percentile", "entropy"):
        onnx.save(quantised(exact, ranges[name], worst), paths[f"{name}, in floats"])
    return paths


def by_entropy(tensors: Mapping[str, Observed]) -> Ranges:
    """Return the ranges that lose least information by ONNX Runtime's measure."""
    collector = HistogramCollector("entropy", False, 128, 128, None, None)
    # The collector prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({name: one.some for name, one in tensors.items()})
        found = collector.compute_collection_result()
    return {name: (float(limits[0]), float(limits[1])) for name, limits in found.items()}


def _answers(rows: Rows, path: Path, keep: Path, seeds: int, floats: Answers | None) -> Answers:
    fit, test = (
        RowImages(part, keep / "features", lambda _: None)
        .features(path.stem, path, CANDIDATE.size)
        .astype(np.float32)
        for part in (rows.fit, rows.test)
    )
    heads = []
    for seed in range(seeds):
        context = FitContext(seed, None, "int8", lambda _: None, lambda *_: None)
        heads.append(fit_head(path.stem, fit, rows.labels, HeadSettings(), context))

    def scored(by: list[Callable[..., Floats]]) -> Floats:
        return np.stack([softmax(np.asarray(head(test, training=False))) for head in by])

    return Answers(test, heads, scored(heads), scored(floats.heads if floats else heads))


def _line(name: str, path: Path, floats: Path, rows: Rows, answers: Mapping[str, Answers]) -> str:
    this, base = answers[name], answers[FLOATS]
    targets = rows.data.targets(rows.test)
    weights = official_weights(rows.test["code"].to_numpy(), rows.data.official_share)
    speed, ratio = _speed(path, floats)
    deviation = np.linalg.norm(base.features - base.features.mean(axis=0))
    off = np.linalg.norm(this.features - base.features) / deviation
    figures = [
        _difference(base.fitted, other, targets, shares)
        for other in (this.fitted, this.old)
        for shares in (None, weights)
    ]
    largest = np.abs(this.old - base.fitted).max()
    return (
        f"{name:<24} {speed:5.1f}/s x{ratio:.2f}  {path.stat().st_size / 1e6:5.1f} MB  "
        f"off {off:.3f}  new head {figures[0]}, official {figures[1]}  "
        f"old head {figures[2]}, official {figures[3]}  largest {largest:.3f}"
    )


def _difference(
    base: Floats, other: Floats, targets: NDArray[np.int64], weights: Floats | None
) -> str:
    """Return the F1, and its difference to the floats with a 95 % interval, means of all heads."""

    def f1(answers: Floats, places: NDArray[np.int64]) -> float:
        shares = None if weights is None else weights[places]
        scores = [
            f1_score(
                targets[places],
                one[places].argmax(axis=1),
                average="weighted",
                sample_weight=shares,
                zero_division=0,
            )
            for one in answers
        ]
        return float(np.mean(scores))

    whole = np.arange(len(targets))
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(targets), size=len(targets)) for _ in range(RESAMPLES)]
    low, high = np.quantile([f1(other, one) - f1(base, one) for one in drawn], (0.025, 0.975))
    found = f1(other, whole)
    return f"{found:.4f} {found - f1(base, whole):+.4f} [{low:+.3f}, {high:+.3f}]"


def _speed(path: Path, floats: Path) -> tuple[float, float]:
    """Return images per second of a form, and its ratio to the floats, timed in turn."""
    generator = np.random.default_rng(0)
    shape = (TIMED, 1, CANDIDATE.size, CANDIDATE.size, 3)
    images = generator.integers(0, 256, shape).astype(np.uint8)
    sessions = [open_session(one, threads=THREADS) for one in (path, floats)]
    for session in sessions:
        session.run(None, {IMAGE_INPUT: images[0]})
    times = np.array([_times(sessions, images) for _ in range(ROUNDS)]).min(axis=0)
    return TIMED / float(times[0]), float(times[1] / times[0])


def _times(
    sessions: Sequence[onnxruntime.InferenceSession], images: NDArray[np.uint8]
) -> list[float]:
    """Return the seconds that each session takes for some images."""
    found = []
    for session in sessions:
        started = time.perf_counter()
        for one in images:
            session.run(None, {IMAGE_INPUT: one})
        found.append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    run_command(main)
