"""Score a release on held-out rows.

    python -m trainer.monitoring.performance.held_out RELEASE DATA --out FILE

Runs in its own process because it loads models and images: the memory is released when it exits.
Probabilities are cached, so the same release is scored on the same rows only once.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import InvalidInput, RayonError
from shared.files import atomic_write
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.monitoring.performance.cbpe import estimated_f1
from trainer.monitoring.performance.weighted_f1 import by_code, confusions, measured_f1
from trainer.release.comparison import Scored, askable, likeliest, scores
from trainer.release.loaded import release_digest

#: Serving takes precedence over scoring.
NICENESS = 15
PARTS = ("text", "image", "answered")


def main(arguments: list[str] | None = None) -> int:
    """Score a release and write the figures as JSON; return the exit code."""
    args = _parser().parse_args(arguments)
    os.nice(NICENESS)
    try:
        found = score(args.release, load(args.data), args.kept)
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the log of a command
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found))
    return 0


def score(folder: Path, data: Dataset, kept: Path) -> dict[str, Any]:
    """Measure a release on the test rows, and estimate the same figure without their labels.

    Args:
        folder: Release folder.
        data: Dataset; only its `test` part is scored.
        kept: Folder of cached probabilities.

    Returns:
        `measured` and `estimated` by modality, each an `Estimate` as JSON. `fusion` is the answer
        that would be served; rows with only a text or an image are answered from that.

    Raises:
        InvalidInput: The folder is not a release, or no row can be scored.
    """
    rows = askable(data)
    if rows.empty:
        raise InvalidInput(
            "Expected at least one test row with a text or an image. "
            f"Received: none in {len(data.rows)} rows"
        )
    scored = _cached_scores(folder, data, kept)
    truth = rows["code"].astype(np.int64)
    parts = {"fusion": scored.answered, "text": scored.text, "image": scored.image}
    return {name: _figures(truth, part) for name, part in parts.items() if len(part)}


def _figures(truth: pd.Series, scored: pd.DataFrame) -> dict[str, Any]:
    codes = [int(code) for code in scored.columns]
    known = truth.loc[scored.index].to_numpy(np.int64)
    answers = likeliest(scored)
    measured = measured_f1(known, answers)
    estimated = estimated_f1(scored.to_numpy(np.float32), codes)
    return {
        "measured": asdict(measured) | {"by_class": by_code(measured, confusions(known, answers))},
        "estimated": asdict(estimated) | {"by_class": by_code(estimated)},
    }


def _cached_scores(folder: Path, data: Dataset, kept: Path) -> Scored:
    path = kept / f"{data.fingerprint[:24]}-test-{release_digest(folder)[:24]}.npz"
    if path.exists():
        with np.load(path) as there:
            return Scored(**{name: _frame(there, name) for name in PARTS})
    found = scores(folder, data)
    kept.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        np.savez(temporary, allow_pickle=False, **_arrays(found))
    return found


def _arrays(found: Scored) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for name in PARTS:
        frame: pd.DataFrame = getattr(found, name)
        arrays[name] = frame.to_numpy(np.float32)
        arrays[f"{name}_rows"] = frame.index.to_numpy(np.int64)
        arrays[f"{name}_codes"] = frame.columns.to_numpy(np.int64)
    return arrays


def _frame(there: Mapping[str, NDArray[Any]], name: str) -> pd.DataFrame:
    return pd.DataFrame(there[name], there[f"{name}_rows"], there[f"{name}_codes"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.monitoring.performance.held_out")
    parser.add_argument("release", type=Path, help="release folder")
    parser.add_argument(
        "data", type=Path, help="data folder, or `name@version` of a stored dataset"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="output file for the figures, as JSON"
    )
    parser.add_argument("--kept", type=Path, required=True, help="folder of cached probabilities")
    return parser


if __name__ == "__main__":
    sys.exit(main())
