"""Commands: `python -m trainer check | explore | train | evaluate | reference | bench`."""

import argparse
import sys
from pathlib import Path

from shared.errors import RayonError
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage
from trainer.datasets.loading import load
from trainer.datasets.validation import run_check
from trainer.release.evaluation import evaluate_release
from trainer.release.feature_upload import Online


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    if given.command == "check":
        return run_check(given.data, deep=given.deep)
    try:
        commands = {
            "explore": _explore,
            "train": _train,
            "evaluate": _evaluate,
            "reference": _refer,
            "bench": _bench,
        }
        commands[given.command](given)
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="say what is wrong with a folder of data")
    check.add_argument("data", type=Path, help="folder in the challenge's layout or a simple one")
    check.add_argument("--deep", action="store_true", help="decode every image")
    explore = commands.add_parser("explore", help="show a dataset as one HTML page")
    explore.add_argument("--data", type=Path, required=True, help="folder, or name@version")
    explore.add_argument("--out", type=Path, default=Path("explore.html"))
    train = commands.add_parser("train", help="train a release from a folder of data")
    train.add_argument("data", type=Path, help="folder in the challenge's layout")
    train.add_argument("--out", type=Path, default=Path("var/training/release"))
    train.add_argument("--work", type=Path, default=Path("var/training"))
    train.add_argument("--weights", type=Path, help="folder with ImageNet weights")
    train.add_argument("--champion", type=Path, help="release whose network of images is tried")
    train.add_argument("--mlflow", help="address of the MLflow that keeps the run")
    train.add_argument(
        "--publish",
        action="store_true",
        help="write the images' features where the workers of RAYON_STORAGE_URL look them up",
    )
    train.add_argument("--progress", type=Path, help="file that gets a JSON line for each step")
    train.add_argument("--name", default="rayon")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--storage", choices=("int8", "float16", "float32"), default="int8")
    evaluate = commands.add_parser("evaluate", help="score a release on the test rows")
    evaluate.add_argument("release", type=Path)
    evaluate.add_argument("data", type=Path)
    evaluate.add_argument("--part", default="test")
    evaluate.add_argument("--seed", type=int, default=0)
    reference = commands.add_parser("reference", help="give a release what drift is measured by")
    reference.add_argument("release", type=Path)
    reference.add_argument("data", type=Path)
    bench = commands.add_parser("bench", help="speed of the fitted models beside TensorFlow")
    bench.add_argument("--work", type=Path, default=Path("var/training"))
    bench.add_argument("--weights", type=Path, help="folder with ImageNet weights")
    bench.add_argument("--data", type=Path, help="also measure small weights on its test rows")
    bench.add_argument("--threads", type=int, default=2)
    return parser


def _explore(given: argparse.Namespace) -> None:
    # scikit-learn takes a second to load and the other commands may not need it.
    from trainer.explore.page import explore

    explore(given.data, given.out, print)


def _train(given: argparse.Namespace) -> None:
    # TensorFlow takes seconds to load and the other commands may not need it.
    from trainer.pipeline.tracking import Tracking
    from trainer.pipeline.training import Plan, train

    plan = Plan(
        work=given.work,
        weights=given.weights,
        champion=given.champion,
        name=given.name,
        seed=given.seed,
        storage=given.storage,
        online=_online() if given.publish else None,
        progress=given.progress,
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    data = load(given.data, seed=given.seed)
    tracking = Tracking(given.out.parent / "tracking", given.mlflow)
    try:
        manifest = train(plan, data, given.out, tracking)
    except BaseException:
        tracking.finish(failed=True)
        raise
    for name, value in manifest.figures.items():
        tracking.tell(f"  {name} {value:.4f}")
    tracking.tell(f"release in {given.out}")
    problem = tracking.finish()
    if problem:
        print(problem, file=sys.stderr)


def _online() -> Online | None:
    settings = FeatureSettings()
    if not settings.enabled:
        return None
    return Online(Storage(StorageSettings()), settings.max_megabytes * 2**20)


def _evaluate(given: argparse.Namespace) -> None:
    found = evaluate_release(given.release, load(given.data, seed=given.seed), given.part)
    print(f"{'':<12}{'rows':>6}{'F1':>9}{'official':>10}{'ECE':>8}{'log loss':>10}")
    for name, figures in found.items():
        print(
            f"{name:<12}{figures.rows:>6}{figures.f1_plain:>9.4f}{figures.f1_official:>10.4f}"
            f"{figures.calibration_error:>8.4f}{figures.log_loss:>10.4f}"
        )


def _refer(given: argparse.Namespace) -> None:
    from trainer.pipeline.assembly import refer

    refer(given.release, load(given.data), given.release)


def _bench(given: argparse.Namespace) -> None:
    from trainer.pipeline.speed import bench_image, bench_storage, bench_text

    for line in bench_text(given.work, given.threads):
        print(line, flush=True)
    for line in bench_image(given.weights, given.work, given.threads):
        print(line, flush=True)
    if given.data is not None:
        for line in bench_storage(load(given.data), given.work):
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
