"""Text model of a release, as a `Scorer`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import ReleaseManifest
from shared.inference.onnx_session import open_session
from shared.inference.preparation.text import TextInputs

#: Most texts of a model call, and longest text over shortest. More texts make fewer calls, and more
#: different ones are padded more; measured at batches of 8 to 500.
ALIKE, STRETCH = 8, 1.25


class TextScorer:
    """Scores prepared texts.

    Args:
        folder: Folder of a release.
        manifest: Manifest of that release.
        threads: Threads of one model call.
    """

    def __init__(self, folder: Path, manifest: ReleaseManifest, *, threads: int) -> None:
        self._inputs = TextInputs.load(folder / "text", manifest.text_part)
        self._session = open_session(folder / "text/model.onnx", threads=threads)
        self.score(["premier texte", ""])

    def score(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return the probabilities of prepared texts, shape `(batch, classes)`."""
        # A short text in a batch with a long one is padded to its length and costs as much.
        order = sorted(range(len(items)), key=lambda position: len(items[position]))
        scored = [
            self._run([items[position] for position in positions])
            for positions in groups(order, [len(item) for item in items])
        ]
        probabilities = np.concatenate(scored)
        probabilities[order] = probabilities.copy()
        return probabilities

    def _run(self, items: Sequence[str]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = self._session.run(
            ["probabilities"], self._inputs.of(items)
        )[0]
        return probabilities


def groups(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Split positions, which are in the order of their lengths, into calls of similar length."""
    found: list[list[int]] = []
    for position in order:
        first = lengths[found[-1][0]] if found else 0
        if not found or len(found[-1]) == ALIKE or lengths[position] > STRETCH * first:
            found.append([])
        found[-1].append(position)
    return found
