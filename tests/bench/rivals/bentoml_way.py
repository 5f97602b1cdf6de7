"""BentoML with adaptive batching: clients send lists of one product, which it batches.

Source: https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html

That page also composes a service for single products with a batching one. With 64 clients this
loses requests, because connections between the two services are closed while in use.
"""

import bentoml

from tests.bench.rivals.model import MAX_BATCH, Model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Texts:
    """Service with the model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def predict(self, products: list[dict[str, str]]) -> list[int]:
        """Score a batch."""
        return self.model.predict(
            [(product["designation"], product["description"]) for product in products]
        )
