"""BentoML with adaptive batching: a batching service behind one that takes single products.

Source: https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
"""

import bentoml

from tests.bench.others.model import MAX_BATCH, Model


@bentoml.service(workers=1)
class Batched:
    """The model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def predict_all(self, products: list[dict[str, str]]) -> list[int]:
        """Score a batch."""
        return self.model.predict([(one["designation"], one["description"]) for one in products])


@bentoml.service(workers=1)
class Texts:
    """What clients call."""

    batched = bentoml.depends(Batched)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, designation: str, description: str) -> int:
        """Score one product among others."""
        product = {"designation": designation, "description": description}
        [code] = await self.batched.to_async.predict_all([product])
        return int(code)
