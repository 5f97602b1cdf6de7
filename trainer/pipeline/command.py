"""The command `python -m trainer train`: trains a release by hand, or for a training run."""

import argparse
import json
import sys
from pathlib import Path

from shared.inference.manifest import ReleaseManifest
from shared.settings import FeatureSettings, StorageSettings
from shared.storage import Storage
from trainer.candidates.protocols import Lineup
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingSettings
from trainer.pipeline.lineup import require_candidates
from trainer.pipeline.tracking import Tracking
from trainer.pipeline.training import RESULT, train
from trainer.release.acceptance import NOT_PASSED
from trainer.release.category_overlap import Overlap
from trainer.release.feature_upload import UploadTarget
from trainer.weights.files import cost


def run(args: argparse.Namespace) -> int:
    """Train the line-ups that are asked for, and return the exit code of the last.

    Of `both`, the quick one is in the folder `quick` beside the other's.

    Raises:
        InvalidInput: A candidate is unknown, or the data cannot be read or trained on.
    """
    require_candidates(args.candidates or (), args.champion)
    if (line := cost(args.weights)) is not None:
        _say(line)
    data = load(args.data, seed=args.seed)
    if args.unless_known and is_known(args.champion, data):
        _say("the champion knows every category: no quick line-up is needed")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        (args.out.parent / RESULT).write_text(json.dumps({"status": "skipped"}), "utf-8")
        return 0
    if args.lineup != "both":
        return _train(args, data, args.out, args.lineup)
    quick = args.out.parent / "quick" / args.out.name
    if _train(args, data, quick, "quick") == 0:
        _say(
            f"a first release is in {quick}. It can be delivered while the full line-up is "
            f"trained: python -m trainer deliver {quick}"
        )
    return _train(args, data, args.out, "full")


def is_known(champion: Path | None, data: Dataset) -> bool:
    """Return True if a release knows every category of the data."""
    if champion is None:
        return False
    overlap = Overlap.of(ReleaseManifest.read(champion).categories, data.categories.categories)
    return not overlap.new


def _train(args: argparse.Namespace, data: Dataset, out: Path, lineup: Lineup) -> int:
    settings = TrainingSettings(
        work=args.work,
        weights=args.weights,
        champion=args.champion,
        name=args.name,
        seed=args.seed,
        storage=args.storage,
        upload_target=_upload_target() if args.publish else None,
        progress=args.progress,
        lineup=lineup,
        is_offline=args.offline,
        arithmetic=args.arithmetic,
        class_balance=args.class_balance,
        candidates=tuple(args.candidates or ()),
        answers=args.answers,
        final_fit=args.final_fit,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    tracking = Tracking(out.parent / "tracking", args.mlflow)
    try:
        manifest = train(settings, data, out, tracking)
    except BaseException:
        tracking.finish(failed=True)
        raise
    for name, value in manifest.figures.items():
        tracking.log_line(f"  {name} {value:.4f}")
    result = _with_data(out.parent / RESULT, args.data)
    is_ready = result["status"] == "ready"
    tracking.log_line(f"release in {out}" if is_ready else f"no release in {out}")
    if problem := tracking.finish():
        print(problem, file=sys.stderr)  # noqa: T201 - the output of a command
    if is_ready:
        return 0
    print(  # noqa: T201
        f"error: The release does not pass its test and must not serve: {result['reason']} "
        f"It lies in {result['folder']}",
        file=sys.stderr,
    )
    return NOT_PASSED


def _with_data(path: Path, data: Path) -> dict[str, str]:
    """Record the dataset beside the release, for its delivery; return the result."""
    result = json.loads(path.read_text("utf-8"))
    result["dataset"]["folder"] = str(data.resolve() if data.exists() else data)
    path.write_text(json.dumps(result, indent=1), "utf-8")
    return dict(result)


def _upload_target() -> UploadTarget | None:
    settings = FeatureSettings()
    if not settings.enabled:
        return None
    return UploadTarget(Storage(StorageSettings()), settings.max_megabytes * 2**20)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the output of a command
