"""Probe of a release's image model: one `{"image": path}` per line."""

import os
import sys
from pathlib import Path

from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.image_model import Head
from shared.inference.serving.probe import Answer, Asked, Floats, probe
from worker_image.scorer import Backbones, ImageScorer


def load(folder: Path, manifest: ReleaseManifest) -> Answer:
    """Load the image model in the same way as the worker."""
    part = manifest.image_part
    scorer = ImageScorer(folder, manifest, Backbones(threads=os.cpu_count() or 1))
    head = Head(folder, part)

    def answer(asked: Asked) -> Floats:
        pixels = prepare(Path(str(asked["image"])).read_bytes(), part.size)
        probabilities: Floats = head.score(scorer.score([pixels]))[0]
        return probabilities

    return answer


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1:], load))
