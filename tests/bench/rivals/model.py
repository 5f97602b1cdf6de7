"""The model that every way serves: the starter release's, prepared and scored as ours."""

import os
from collections.abc import Sequence

from infra.embedded.settings import PROJECT
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.text import product_text
from worker_text.scorer import TextScorer

#: Largest batch and longest wait of the ways that batch; ours has the same.
MAX_BATCH = 64
MAX_WAIT_SECONDS = 0.002


class Model:
    """Titles and descriptions in, category codes out."""

    def __init__(self, threads: int = os.cpu_count() or 1) -> None:
        folder = PROJECT / "infra" / "starter_release"
        manifest = ReleaseManifest.model_validate_json((folder / "release.json").read_text())
        self._codes = manifest.category_set.codes
        self._scorer = TextScorer(folder, manifest, threads=threads)

    def predict(self, products: Sequence[tuple[str, str]]) -> list[int]:
        """The likeliest category of each product."""
        scores = self._scorer.score([product_text(*product) for product in products])
        return [self._codes[column] for column in scores.argmax(axis=1).tolist()]
