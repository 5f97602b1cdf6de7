"""Response times and rates of requests from many clients."""

import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import quantiles

from infra.acceptance.client import Product, in_flight


async def crowd(
    clients: int, products: Sequence[Product], classify: Callable[[Product], Awaitable[object]]
) -> dict[str, float]:
    """Return response times and rate of products that a number of clients send at once."""
    seconds: list[float] = []

    async def timed(product: Product) -> None:
        started = time.perf_counter()
        await classify(product)
        seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await in_flight(clients, products, timed)
    return percentiles(seconds) | {"per_second": len(products) / (time.perf_counter() - started)}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds."""
    cuts = quantiles(seconds, n=20)
    return {"jobs": len(seconds), "p50_ms": cuts[9] * 1000, "p95_ms": cuts[18] * 1000}
