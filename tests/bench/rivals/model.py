"""Text model of the starter release, prepared and scored as in the text worker."""

import os
from collections.abc import Sequence

from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.text import product_text
from tests.bench.starter import STARTER
from worker_text.scorer import TextScorer

#: Largest batch and longest wait of the programs that batch; the same as in the text worker.
MAX_BATCH = 64
MAX_WAIT_SECONDS = 0.002


class Model:
    """Classifier of titles and descriptions."""

    def __init__(self, threads: int = os.cpu_count() or 1) -> None:
        manifest = ReleaseManifest.read(STARTER)
        self._codes = manifest.category_set.codes
        self._scorer = TextScorer(STARTER, manifest, threads=threads)

    def predict(self, products: Sequence[tuple[str, str]]) -> list[int]:
        """Return the code of the most likely category of each product."""
        scores = self._scorer.score([product_text(*product) for product in products])
        return [self._codes[column] for column in scores.argmax(axis=1).tolist()]
