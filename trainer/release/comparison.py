"""Compare a challenger with the champion on the same held-out rows.

    python -m trainer.release.comparison CHAMPION CHALLENGER DATA --out FILE

It runs as a separate process because it loads models and takes minutes; it can be stopped at any
time.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import RayonError
from shared.files import atomic_write
from shared.inference.manifest import ReleaseManifest
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.release.category_overlap import NO_ANSWER, Overlap, incomparable
from trainer.release.current_mix import current_mix, sums
from trainer.release.evaluation import FINAL_FIT_TEST_ROWS
from trainer.release.labelled_answers import judge_parts
from trainer.release.loaded import LoadedRelease, release_digest
from trainer.release.paired_bootstrap import Rule

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

#: Largest loss of weighted F1 on the rows of the files that a gain on labelled answers excuses.
TOLERANCE = 0.02


def main(arguments: list[str] | None = None) -> int:
    """Compare two releases and write the verdict as JSON; return the exit code."""
    args = _parser().parse_args(arguments)
    try:
        found = contest(
            args.champion,
            args.challenger,
            load(args.data),
            Rule(args.margin, args.confidence, args.probability),
            kept=args.kept,
            tolerance=args.tolerance,
        )
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the log of a command
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found))
    return 0


def contest(
    champion: Path,
    challenger: Path,
    data: Dataset,
    rule: Rule,
    *,
    kept: Path,
    tolerance: float = TOLERANCE,
    part: str = "test",
) -> dict[str, object]:
    """Compare two release folders on the same rows.

    Args:
        champion: Folder of the champion.
        challenger: Folder of the challenger.
        data: Dataset with the rows.
        rule: Margin and confidence.
        kept: Folder that caches their answers.
        tolerance: Largest loss of weighted F1 on the rows of the files that a gain on labelled
            answers excuses.
        part: Part of the dataset.

    Returns:
        Figures of the verdict, with its `sentence`.

    Raises:
        InvalidInput: A folder is not a release, or no row has a text or an image.
    """
    rows = askable(data, part)
    if part == "test" and (reason := _not_comparable(champion, challenger)):
        return incomparable(reason, len(rows), rule)
    both = [_kept_answers(folder, data, part, kept) for folder in (champion, challenger)]
    categories = [ReleaseManifest.read(folder).categories for folder in (champion, challenger)]
    overlap = Overlap.of(*categories)
    is_labelled = labelled_answers(rows)
    codes = rows["code"].to_numpy(np.int64)
    now = _current_shares(data)
    return judge_parts(codes, both[0], both[1], is_labelled, overlap, rule, tolerance, now)


def _not_comparable(champion: Path, challenger: Path) -> str | None:
    """Return the reason why the `test` rows cannot compare two releases; `None` if they can."""
    for name, folder in (("champion", champion), ("new release", challenger)):
        if learnt := ReleaseManifest.read(folder).figures.get(FINAL_FIT_TEST_ROWS, 0.0):
            return (
                f"Undecided: the {name} has learnt from {learnt:.0f} test rows, so these cannot "
                "compare it with another; its figures are those of its models before that fit"
            )
    return None


def _current_shares(data: Dataset) -> dict[int, float] | None:
    """Return the share of each category in the current mix, if it is another one than before."""
    classes, rows = len(data.categories), data.part("train", "weak")
    trained = sums(data.targets(rows), np.ones(len(rows)), classes) + 1.0
    mix = current_mix(data, trained / trained.sum())
    return None if mix is None else dict(zip(data.categories.codes, mix.now.tolist(), strict=True))


@dataclass(frozen=True)
class Scored:
    """Probabilities of a release: frames with the rows' index and a column for each code.

    Attributes:
        text: Probabilities of the rows with a text.
        image: Probabilities of the rows with a readable image.
        answered: Probabilities of all rows with an answer, as served: text only by the text model,
            image only by the image model, both by the fusion.
    """

    text: pd.DataFrame
    image: pd.DataFrame
    answered: pd.DataFrame


def scores(folder: Path, data: Dataset, part: str = "test") -> Scored:
    """Score a part of the data with a release. Raises `InvalidInput` if it is not a release."""
    release = LoadedRelease.load(folder)
    codes = [category.code for category in release.manifest.categories]
    texts, images = data.part(part, text=True), data.part(part, image=True)
    text = image = fused = pd.DataFrame(columns=codes)
    if release.text:
        text = pd.DataFrame(release.score_texts(texts), texts.index, codes)
    if release.image:
        image = _readable(pd.DataFrame(release.score_images(images), images.index, codes))
    both = text.index.intersection(image.index)
    if release.fusion:
        found = release.fusion.combine(_floats(text.loc[both]), _floats(image.loc[both]))
        fused = pd.DataFrame(found, both, codes)
    alone = [text.drop(index=both), image.drop(index=both)]
    return Scored(text, image, pd.concat([part for part in (*alone, fused) if len(part)] or [text]))


def answers(folder: Path, data: Dataset, part: str = "test") -> Codes:
    """Return the served answer for each askable row, shape `(rows,)`.

    A row with an unreadable image is answered by its text, or `NO_ANSWER` without one.

    Raises:
        InvalidInput: The folder is not a release.
    """
    found = scores(folder, data, part).answered
    answered = pd.Series(likeliest(found), index=found.index)
    rows = askable(data, part)
    return answered.reindex(rows.index, fill_value=NO_ANSWER).to_numpy(np.int64)


def likeliest(scored: pd.DataFrame) -> Codes:
    """Return the code of each row's highest probability, shape `(rows,)`."""
    found: Codes = scored.columns.to_numpy(np.int64)[_floats(scored).argmax(axis=1)]
    return found


def askable(data: Dataset, part: str = "test") -> pd.DataFrame:
    """Return the rows with a text or an image; others cannot be submitted."""
    rows = data.part(part)
    return rows[rows["has_text"] | (rows["image"] != "")]


def labelled_answers(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Return a mask of the rows that people labelled as answers, shape `(rows,)`."""
    if "labelled_by" not in rows:
        return np.zeros(len(rows), np.bool_)
    found: NDArray[np.bool_] = (rows["labelled_by"] != "").to_numpy(np.bool_)
    return found


def _kept_answers(folder: Path, data: Dataset, part: str, kept: Path) -> Codes:
    path = kept / f"{data.fingerprint[:24]}-{part}-{release_digest(folder)[:24]}.npy"
    if path.exists():
        found: Codes = np.load(path)
        return found
    found = answers(folder, data, part)
    kept.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        np.save(temporary, found)
    return found


def _readable(scores: pd.DataFrame) -> pd.DataFrame:
    # An unreadable image has equal probabilities for all categories.
    return scores[np.ptp(_floats(scores), axis=1) > 0] if len(scores) else scores


def _floats(scores: pd.DataFrame) -> Floats:
    return scores.to_numpy(np.float32)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.release.comparison", description=__doc__
    )
    parser.add_argument("champion", type=Path, help="release folder of the champion")
    parser.add_argument("challenger", type=Path, help="release folder of the challenger")
    parser.add_argument("data", type=Path, help="dataset folder in the challenge's layout")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the verdict")
    parser.add_argument("--kept", type=Path, required=True, help="folder of cached answers")
    parser.add_argument("--margin", type=float, required=True, help="smallest relevant gain of F1")
    parser.add_argument(
        "--confidence", type=float, required=True, help="confidence of the interval, such as 0.95"
    )
    parser.add_argument(
        "--probability",
        type=float,
        default=1.0,
        help="probability of being better that suffices; 1 (the default) requires the confidence",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="largest loss of F1 on the rows of the files that a gain on labelled answers excuses",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
