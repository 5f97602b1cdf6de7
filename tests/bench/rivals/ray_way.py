"""Ray Serve with `@serve.batch`.

Source: https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
"""

import signal
import sys

import ray
from ray import serve
from starlette.requests import Request

from tests.bench.rivals.model import MAX_BATCH, MAX_WAIT_SECONDS, Model


@serve.deployment(max_ongoing_requests=2 * MAX_BATCH, ray_actor_options={"num_cpus": 1})
class Texts:
    """Model behind the proxy of Ray Serve."""

    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=MAX_WAIT_SECONDS)  # type: ignore[untyped-decorator]
    async def predict(self, products: list[tuple[str, str]]) -> list[int]:
        """Return the category codes of a batch."""
        return self.model.predict(products)

    async def __call__(self, request: Request) -> int:
        """Return the category code of one request."""
        product = await request.json()
        return int(await self.predict((product["designation"], product["description"])))


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": int(sys.argv[1])})
    serve.run(Texts.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    signal.pause()
