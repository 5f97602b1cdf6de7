"""Rate limits and quotas, counted in Redis so that all gateways share them.

While Redis does not answer, each gateway counts on its own: neither open, because password guessing
must stay slow, nor closed, because jobs are accepted without Redis. With n gateways a user may then
send up to n times the limit.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cachetools import TTLCache
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.breaker import Breaker
from shared.broker import client_limits
from shared.errors import Limited
from shared.settings import BrokerSettings

Result = TypeVar("Result")

#: Longest wait for Redis, in seconds. Every request waits for it, and has an alternative.
SHARED_SECONDS = 0.5
PREFIX = "rayon:rates"
#: A batch of counts reserved at once is `1 / BATCH_DIVISOR` of the rate, at most `MAX_BATCH`, and
#: expires after `BATCH_SECONDS`.
BATCH_DIVISOR, MAX_BATCH, BATCH_SECONDS = 500, 100, 1.0
#: Batches held in memory. The least recently used is dropped beyond it.
MAX_BATCHES = 10_000


@dataclass(frozen=True)
class Rate:
    """A limit of `amount` in a sliding window of `seconds`.

    Attributes:
        name: Name of the counted events in headers and messages.
    """

    name: str
    amount: int
    seconds: int

    @property
    def item(self) -> RateLimitItem:
        """The limit as the `limits` library represents it."""
        return RateLimitItemPerSecond(self.amount, self.seconds, namespace=self.name)


@dataclass(frozen=True)
class Quota:
    """The remaining amount of a rate.

    Attributes:
        reset_seconds: Seconds until more is available, rounded up.
    """

    rate: Rate
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Response headers of draft-ietf-httpapi-ratelimit-headers-10."""
        rate = self.rate
        return {
            "RateLimit-Policy": f'"{rate.name}";q={rate.amount};w={rate.seconds}',
            "RateLimit": f'"{rate.name}";r={self.remaining};t={self.reset_seconds}',
        }


@dataclass
class _Batch:
    """Counts that were reserved in the storage and are not used up yet."""

    left: int
    quota: Quota


def shared_storage(settings: BrokerSettings) -> RedisStorage:
    """Return the Redis storage that all gateways count in."""
    return RedisStorage(
        settings.url.get_secret_value(),
        key_prefix=PREFIX,
        wrap_exceptions=True,
        **client_limits(min(SHARED_SECONDS, settings.answer_seconds)),
    )


class Rates:
    """Counts events by rate and key, such as a user or an address.

    Args:
        storage: Shared storage of the counts, used while it answers.
        breaker: Breaker of the storage; one of its own by default.
    """

    def __init__(
        self, storage: RedisStorage | MemoryStorage, breaker: Breaker | None = None
    ) -> None:
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._breaker = breaker or Breaker("storage of the rates", partial(_require_up, storage))
        self._lock = threading.Lock()
        self._batches: TTLCache[tuple[Rate, str], _Batch] = TTLCache(MAX_BATCHES, BATCH_SECONDS)

    def count(self, rate: Rate, key: str) -> Quota:
        """Count one event and return what remains. Raises `Limited` at the limit.

        Large rates are reserved in batches, which are used up in memory within a second, because a
        call to Redis costs more than most requests. The limit is never exceeded, and at worst
        reached slightly early.
        """
        with self._lock:
            batch = self._batches.get((rate, key))
            if batch is None or not batch.left:
                batch = self._reserve(rate, key)
                self._batches[(rate, key)] = batch
            batch.left -= 1
            quota = batch.quota
            return Quota(rate, quota.remaining + batch.left, quota.reset_seconds)

    def _reserve(self, rate: Rate, key: str) -> "_Batch":
        for count in dict.fromkeys((max(1, min(rate.amount // BATCH_DIVISOR, MAX_BATCH)), 1)):
            if self._run(lambda limiter, count=count: limiter.hit(rate.item, key, cost=count)):  # type: ignore[misc]
                return _Batch(count, self.quota(rate, key))
        raise rate_exceeded(self.quota(rate, key))

    def take(self, rate: Rate, key: str) -> None:
        """Count one event at once, in one step with the check. Raises `Limited` at the limit."""
        if not self._run(lambda limiter: limiter.hit(rate.item, key)):
            raise rate_exceeded(self.quota(rate, key))

    def give_back(self, rate: Rate, key: str) -> None:
        """Undo a `take`."""
        self._run(lambda limiter: limiter.hit(rate.item, key, cost=-1))

    def reset(self, rate: Rate, key: str) -> None:
        """Reset the count of a key."""
        self._run(lambda limiter: limiter.clear(rate.item, key))

    def quota(self, rate: Rate, key: str) -> Quota:
        """Return the remaining amount of a key."""
        stats = self._run(lambda limiter: limiter.get_window_stats(rate.item, key))
        wait = math.ceil(max(0.0, stats.reset_time - time.time()))
        return Quota(rate, int(stats.remaining), wait)

    def _run(self, operation: Callable[[SlidingWindowCounterRateLimiter], Result]) -> Result:
        if not self._breaker.is_open:
            try:
                return operation(self._shared)
            except StorageError as error:
                self._breaker.open(str(error))
        return operation(self._local)


def _require_up(storage: RedisStorage | MemoryStorage) -> None:
    if not storage.check():
        raise ConnectionError("it does not answer")


def rate_exceeded(quota: Quota) -> Limited:
    """Return the error of a used-up rate."""
    rate = quota.rate
    return Limited(
        f"Expected at most {rate.amount} {rate.name} in {rate.seconds} seconds. Received: more",
        retry_after_seconds=max(1, quota.reset_seconds),
    )
