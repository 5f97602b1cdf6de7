"""Probe of a release's fusion model: one `{"text": …, "image": …}` of probabilities per line."""

import sys
from pathlib import Path

import numpy as np

from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.serving.probe import Answer, Asked, Floats, probe


def load(folder: Path, manifest: ReleaseManifest) -> Answer:  # noqa: ARG001  # same signature as the other probes
    """Load the fusion model in the same way as the worker."""
    fusion = FusionModel.load(folder / "fusion")

    def answer(asked: Asked) -> Floats:
        text, image = (np.array([asked[name]], np.float32) for name in ("text", "image"))
        probabilities: Floats = fusion.combine(text, image)[0]
        return probabilities

    return answer


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1:], load))
