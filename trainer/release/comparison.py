"""Compare a challenger with the champion on the same held-out rows.

    python -m trainer.release.comparison CHAMPION CHALLENGER DATA --out FILE

A process of its own, for it loads models and takes minutes: it can be stopped at any time.
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
from trainer.datasets.folder import Dataset
from trainer.datasets.loading import load
from trainer.release.loaded import LoadedRelease, release_digest
from trainer.release.paired_bootstrap import Rule, compare

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

#: The code of a row that gets no answer: there is no such category, so it is wrong.
NO_ANSWER = -1


def main(arguments: list[str] | None = None) -> int:
    """Compare, and write verdict and sentence as JSON; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        found = contest(
            given.champion,
            given.challenger,
            load(given.data),
            Rule(given.margin, given.confidence),
            kept=given.kept,
        )
    except RayonError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the log of a command
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found))
    return 0


def contest(
    champion: Path, challenger: Path, data: Dataset, rule: Rule, *, kept: Path, part: str = "test"
) -> dict[str, object]:
    """Compare two release folders on the same rows; answers are kept in a folder for next time.

    Returns:
        The figures of the verdict, with its `sentence`.

    Raises:
        InvalidInput: A folder is not a release, or no row can be asked.
    """
    rows = askable(data, part)
    both = [_kept_answers(folder, data, part, kept) for folder in (champion, challenger)]
    verdict = compare(rows["code"].to_numpy(np.int64), both[0], both[1], rule)
    return verdict.figures() | {"sentence": verdict.sentence()}


@dataclass(frozen=True)
class Scored:
    """Probabilities of a release, one frame a modality with the rows' numbers; columns by code.

    Attributes:
        text: Of the rows with a text.
        image: Of the rows with an image that can be read.
        answered: Of all rows that have an answer, as it is served: text only is answered by the
            text model, an image only by the image model, both by the fusion.
    """

    text: pd.DataFrame
    image: pd.DataFrame
    answered: pd.DataFrame


def scores(folder: Path, data: Dataset, part: str = "test") -> Scored:
    """Score a part of the data with a release. Raises `InvalidInput` if the folder is none."""
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
    return Scored(text, image, pd.concat([some for some in (*alone, fused) if len(some)] or [text]))


def answers(folder: Path, data: Dataset, part: str = "test") -> Codes:
    """What a release answers to each askable row, as it is served; shape `(rows,)`.

    An image that cannot be read leaves the text; without a text, `NO_ANSWER`.

    Raises:
        InvalidInput: The folder is not a release.
    """
    found = scores(folder, data, part).answered
    answered = pd.Series(likeliest(found), index=found.index)
    rows = askable(data, part)
    return answered.reindex(rows.index, fill_value=NO_ANSWER).to_numpy(np.int64)


def likeliest(scored: pd.DataFrame) -> Codes:
    """The code of each row's highest probability, shape `(rows,)`."""
    found: Codes = scored.columns.to_numpy(np.int64)[_floats(scored).argmax(axis=1)]
    return found


def askable(data: Dataset, part: str = "test") -> pd.DataFrame:
    """Rows that have a text or an image; the others cannot be submitted."""
    rows = data.part(part)
    return rows[rows["has_text"] | (rows["image"] != "")]


def _kept_answers(folder: Path, data: Dataset, part: str, kept: Path) -> Codes:
    path = kept / f"{data.fingerprint[:24]}-{part}-{release_digest(folder)[:24]}.npy"
    if path.exists():
        found: Codes = np.load(path)
        return found
    found = answers(folder, data, part)
    kept.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a process that is killed here leaves no half of it.
    aside = path.with_suffix(".tmp.npy")
    np.save(aside, found)
    aside.rename(path)
    return found


def _readable(scores: pd.DataFrame) -> pd.DataFrame:
    # An image that cannot be read has equal probabilities for all categories.
    return scores[np.ptp(_floats(scores), axis=1) > 0] if len(scores) else scores


def _floats(scores: pd.DataFrame) -> Floats:
    return scores.to_numpy(np.float32)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.release.comparison", description=__doc__
    )
    parser.add_argument("champion", type=Path, help="release folder")
    parser.add_argument("challenger", type=Path, help="release folder")
    parser.add_argument("data", type=Path, help="folder in the challenge's layout")
    parser.add_argument("--out", type=Path, required=True, help="the verdict, as JSON")
    parser.add_argument("--kept", type=Path, required=True, help="folder of earlier answers")
    parser.add_argument("--margin", type=float, required=True)
    parser.add_argument("--confidence", type=float, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
