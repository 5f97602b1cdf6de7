"""Probe of a release's text model: one `{"designation": …, "description": …}` per line."""

import os
import sys
from pathlib import Path

from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.text import product_text
from shared.inference.serving.probe import Answer, Asked, Floats, probe
from worker_text.scorer import TextScorer


def load(folder: Path, manifest: ReleaseManifest) -> Answer:
    """Load the text model in the same way as the worker."""
    scorer = TextScorer(folder, manifest, threads=os.cpu_count() or 1)

    def answer(asked: Asked) -> Floats:
        text = product_text(str(asked["designation"]), str(asked.get("description", "")))
        probabilities: Floats = scorer.score([text])[0]
        return probabilities

    return answer


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1:], load))
