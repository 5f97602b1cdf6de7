"""Check and explore data, train a release, deliver it, and evaluate or benchmark it."""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from shared.errors import RayonError
from shared.invalid_settings import run_program
from trainer.datasets.loading import load
from trainer.datasets.validation import run_check
from trainer.deliver import deliver
from trainer.release.evaluation import evaluate_release
from trainer.weights.fetch import fetch
from trainer.weights.files import table

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

#: The release that ships with Rayon, whose image network a training by hand can reuse.
STARTER = Path(__file__).parent.parent / "infra" / "starter_release"
WORK: dict[str, Any] = {
    "type": Path,
    "default": Path("var/training"),
    "help": "folder of results that are kept between runs",
}
WEIGHTS: dict[str, Any] = {
    "type": Path,
    "help": "folder with ImageNet weights; without it Keras downloads its own",
}


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default only if there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default not in (None, False)
        return super()._get_help_string(action) if has_default else action.help


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    args = _parser().parse_args(arguments)
    if args.command == "check":
        return run_check(args.data, deep=args.deep)
    try:
        commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
            "explore": _explore,
            "train": _train,
            "deliver": _deliver,
            "weights": _weights,
            "evaluate": _evaluate,
            "reference": _write_reference,
            "bench": _bench,
        }
        return commands[args.command](args) or 0
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = _command(commands, "check", "report problems in a dataset folder")
    check.add_argument("data", type=Path, help="folder in the challenge's or the simple layout")
    check.add_argument("--deep", action="store_true", help="decode every image")
    explore = _command(commands, "explore", "write an HTML report about a dataset")
    explore.add_argument("data", type=Path, help="dataset folder, or name@version")
    explore.add_argument("--out", type=Path, default=Path("explore.html"), help="HTML file")
    _add_train(commands)
    _add_deliver(commands)
    _add_weights(commands)
    evaluate = _command(commands, "evaluate", "measure a release on labelled rows")
    evaluate.add_argument("release", type=Path, help="release folder")
    evaluate.add_argument("data", type=Path, help="dataset folder")
    evaluate.add_argument("--part", default="test", help="part of the dataset")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the split into parts")
    reference = _command(commands, "reference", "add the drift reference to a release")
    reference.add_argument("release", type=Path, help="release folder, which is changed")
    reference.add_argument("data", type=Path, help="dataset folder of the training")
    bench = _command(commands, "bench", "compare the speed of ONNX models with TensorFlow")
    bench.add_argument("--work", **WORK)
    bench.add_argument("--weights", **WEIGHTS)
    bench.add_argument("--data", type=Path, help="also measure small weights on its test rows")
    bench.add_argument("--threads", type=int, default=2, help="threads of each runtime")
    return parser


def _command(commands: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}."
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=_HelpFormatter,
    )


def _add_train(commands: Commands) -> None:
    train = _command(commands, "train", "train a release from a dataset folder")
    train.add_argument("data", type=Path, help="folder in the challenge's or the simple layout")
    train.add_argument(
        "--out", type=Path, default=Path("var/training/release"), help="release folder"
    )
    train.add_argument("--work", **WORK)
    train.add_argument("--weights", **WEIGHTS)
    train.add_argument(
        "--champion",
        type=Path,
        default=STARTER if STARTER.exists() else None,
        help="release whose image network is tried too, which needs no other weights",
    )
    train.add_argument(
        "--lineup",
        choices=("quick", "full", "both"),
        default="both",
        help="candidates: those that are fitted in seconds, all, or first the quick ones, whose "
        "release lies in the folder `quick` beside the other",
    )
    train.add_argument(
        "--unless-known",
        action="store_true",
        help="train nothing if the champion knows every category of the data",
    )
    train.add_argument("--mlflow", help="address of the MLflow server that records the run")
    train.add_argument(
        "--publish",
        action="store_true",
        help="write image features into RAYON_STORAGE_URL, where workers look them up",
    )
    train.add_argument("--progress", type=Path, help="file that gets a JSON line for each step")
    train.add_argument("--name", default="rayon", help="name of the release")
    train.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    train.add_argument(
        "--storage",
        choices=("int8", "float16", "float32"),
        default="int8",
        help="number format of the weights in the release; finer where it changes answers",
    )
    train.add_argument(
        "--arithmetic",
        choices=("float", "int8"),
        default="float",
        help="numbers that image networks compute with; floats where 8 bits change the features",
    )
    train.add_argument(
        "--class-balance",
        type=_strength,
        default=0.0,
        metavar="STRENGTH",
        help="weight of rare categories while models are fitted: 0 for none to below 1, such as "
        "0.9; for a shop to whom rare categories matter as much as frequent ones",
    )
    train.add_argument(
        "--final-fit",
        choices=("none", "validation", "test"),
        default="validation",
        help="held-out rows that the chosen models are fitted on once more: none, those of "
        "validation (%(default)s), or the test rows too, which cannot compare the release then",
    )
    train.add_argument(
        "--answers",
        type=Path,
        help="file of recent products without labels to learn from if the mix of categories has "
        "changed, a JSON line for each: designation, description, answered_at",
    )
    train.add_argument(
        "--candidates",
        nargs="+",
        metavar="NAME",
        help="candidates of the line-up to try, such as text_ngrams; all by default. Of a kind "
        "(text, image, fusion) without a name here, all are tried",
    )
    train.add_argument(
        "--offline",
        action="store_true",
        help="test the package in this environment, instead of one that is installed from the "
        "package index",
    )


def _strength(typed: str) -> float:
    """Return the strength of the class balance. Raises `ArgumentTypeError`."""
    with suppress(ValueError):
        if 0 <= (found := float(typed)) < 1:
            return found
    raise argparse.ArgumentTypeError(f"Expected a number from 0 to below 1. Received: {typed}")


def _add_deliver(commands: Commands) -> None:
    deliver = _command(
        commands,
        "deliver",
        "register a release that was trained by hand, and compare it with the one that serves",
    )
    deliver.epilog = (
        "Exits with 0 if the release waits for an admin or was promoted, with 3 if the champion "
        "stays, and with 1 if it was not delivered."
    )
    deliver.add_argument("folder", type=Path, help="release folder")
    deliver.add_argument("--data", type=Path, help="dataset of the training; else the recorded one")
    deliver.add_argument(
        "--promote", action="store_true", help="let it serve if it is better, without an admin"
    )


def _add_weights(commands: Commands) -> None:
    weights = _command(commands, "weights", "fetch pretrained weights that candidates can use")
    weights.add_argument(
        "names", nargs="*", help="files or candidates; by default all that are published"
    )
    weights.add_argument("--to", type=Path, default=Path("weights"), help="folder of weights")
    weights.add_argument(
        "--list", action="store_true", help="show the files, who needs them, and which are there"
    )


def _explore(args: argparse.Namespace) -> None:
    # scikit-learn takes a second to load, and not every command needs it.
    from trainer.explore.page import explore

    explore(args.data, args.out, print)


def _train(args: argparse.Namespace) -> int:
    # TensorFlow takes seconds to load, and not every command needs it.
    from trainer.pipeline.command import run

    return run(args)


def _deliver(args: argparse.Namespace) -> int:
    return deliver(args.folder, args.data, promotes=args.promote, say=_say)


def _weights(args: argparse.Namespace) -> int:
    if args.list:
        print("\n".join(table(args.to)))
        return 0
    return fetch(args.to, args.names, _say)


def _say(line: str) -> None:
    print(line, flush=True)


def _evaluate(args: argparse.Namespace) -> None:
    found = evaluate_release(args.release, load(args.data, seed=args.seed), args.part)
    print(f"{'':<12}{'rows':>6}{'F1':>9}{'official':>10}{'ECE':>8}{'log loss':>10}")
    for name, figures in found.items():
        print(
            f"{name:<12}{figures.rows:>6}{figures.f1_plain:>9.4f}{figures.f1_official:>10.4f}"
            f"{figures.calibration_error:>8.4f}{figures.log_loss:>10.4f}"
        )


def _write_reference(args: argparse.Namespace) -> None:
    from trainer.pipeline.assembly import write_reference

    write_reference(args.release, load(args.data), args.release)


def _bench(args: argparse.Namespace) -> None:
    from trainer.bench import bench_image, bench_storage, bench_text

    for line in bench_text(args.work, args.threads):
        print(line, flush=True)
    for line in bench_image(args.weights, args.work, args.threads):
        print(line, flush=True)
    if args.data is not None:
        for line in bench_storage(load(args.data), args.work):
            print(line, flush=True)


if __name__ == "__main__":
    run_program(main)
