"""BentoML with adaptive batching: clients send lists of one, which it joins into batches.

Source: https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html

A service for single products before the batching one, as that page composes them, loses requests
at 64 clients: the connections between the two are closed while they are used.
"""

import bentoml

from tests.bench.rivals.model import MAX_BATCH, Model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Texts:
    """The model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def predict(self, products: list[dict[str, str]]) -> list[int]:
        """Score a batch."""
        return self.model.predict([(one["designation"], one["description"]) for one in products])
