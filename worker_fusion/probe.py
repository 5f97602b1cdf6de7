"""Asks the fusion model of a release: `{"text": probabilities, "image": probabilities}` a line."""

import sys
from pathlib import Path

import numpy as np

from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.serving.probe import Answer, Asked, Floats, probe


def load(folder: Path, manifest: ReleaseManifest) -> Answer:  # noqa: ARG001  # as the other probes
    """Load the fusion model as the worker does."""
    fusion = FusionModel.load(folder / "fusion")

    def answer(asked: Asked) -> Floats:
        text, image = (np.array([asked[name]], np.float32) for name in ("text", "image"))
        probabilities: Floats = fusion.combine(text, image)[0]
        return probabilities

    return answer


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1:], load))
