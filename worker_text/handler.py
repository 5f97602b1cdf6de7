"""Handles `ScoreText`."""

from dataclasses import dataclass

from shared.broker import Publisher
from shared.contracts import Modality, ScoreText
from shared.inference.preparation.text import product_text
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.slices import score_slice


@dataclass(frozen=True)
class TextHandler:
    """Scores the texts of a request and publishes `ModalityScored`."""

    pool: ModelPool[str]
    publisher: Publisher

    def score_text(self, request: ScoreText) -> None:
        """Score one request.

        Raises:
            Unavailable: The registry or the queue does not answer.
        """
        texts = {
            item.job_id: product_text(item.designation, item.description) for item in request.items
        }
        self.publisher.publish(score_slice(self.pool, request, Modality.TEXT, texts))
