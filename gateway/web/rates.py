"""Rates and quotas, counted in Redis so that they hold across gateways.

While Redis does not answer each gateway counts for itself: less exact, but jobs are taken and
guesses are still slowed down.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from cachetools import TTLCache
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.errors import Limited
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

#: After Redis did not answer it is not asked for this long.
PAUSE_SECONDS = 5.0
PREFIX = "rayon:rates"
#: Taken at once: this part of the rate, but not more than so many, to be spent within this time.
TAKEN_OF, MOST_TAKEN, FRESH_SECONDS = 500, 100, 1.0
#: Whose are remembered.
MOST_USERS = 10_000


@dataclass(frozen=True)
class Rate:
    """So many in a sliding window of so many seconds.

    Attributes:
        name: What is counted, as headers and messages call it.
    """

    name: str
    amount: int
    seconds: int

    @property
    def item(self) -> RateLimitItem:
        """The same for the library."""
        return RateLimitItemPerSecond(self.amount, self.seconds, namespace=self.name)


@dataclass(frozen=True)
class Quota:
    """What is left of a rate.

    Attributes:
        reset_seconds: When there is more, rounded up.
    """

    rate: Rate
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has it."""
        rate = self.rate
        return {
            "RateLimit-Policy": f'"{rate.name}";q={rate.amount};w={rate.seconds}',
            "RateLimit": f'"{rate.name}";r={self.remaining};t={self.reset_seconds}',
        }


@dataclass
class _Taken:
    """Some that were counted already, and are to be spent."""

    left: int
    quota: Quota


def shared_storage(settings: BrokerSettings) -> RedisStorage:
    """What all gateways count in."""
    return RedisStorage(
        settings.url.get_secret_value(),
        key_prefix=PREFIX,
        wrap_exceptions=True,
        socket_timeout=1,
        socket_connect_timeout=1,
    )


class Rates:
    """Counts what somebody does.

    Args:
        storage: What is counted in, as long as it answers.
    """

    def __init__(self, storage: RedisStorage | MemoryStorage) -> None:
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._down_until = 0.0
        self._lock = threading.Lock()
        self._taken: TTLCache[tuple[Rate, str], _Taken] = TTLCache(MOST_USERS, FRESH_SECONDS)

    def count(self, rate: Rate, who: str) -> Quota:
        """Count something that somebody does. Raises `Limited` if it is too much.

        Of a large rate a few are taken at once and spent here within a second, for asking Redis
        costs more than most requests; so the limit is kept, and reached a little early at worst.
        """
        with self._lock:
            taken = self._taken.get((rate, who))
            if taken is None or not taken.left:
                taken = self._take(rate, who)
                self._taken[(rate, who)] = taken
            taken.left -= 1
            quota = taken.quota
            return Quota(rate, quota.remaining + taken.left, quota.reset_seconds)

    def _take(self, rate: Rate, who: str) -> "_Taken":
        for count in dict.fromkeys((max(1, min(rate.amount // TAKEN_OF, MOST_TAKEN)), 1)):
            if self._ask(lambda limiter, count=count: limiter.hit(rate.item, who, cost=count)):  # type: ignore[misc]
                return _Taken(count, self.quota(rate, who))
        raise too_much(self.quota(rate, who))

    def require(self, rate: Rate, who: str) -> None:
        """Check that there is something left, without counting. Raises `Limited`."""
        if not self._ask(lambda limiter: limiter.test(rate.item, who)):
            raise too_much(self.quota(rate, who))

    def note(self, rate: Rate, who: str) -> None:
        """Count something that has happened, too much or not."""
        self._ask(lambda limiter: limiter.hit(rate.item, who))

    def forget(self, rate: Rate, who: str) -> None:
        """Start anew for somebody."""
        self._ask(lambda limiter: limiter.clear(rate.item, who))

    def quota(self, rate: Rate, who: str) -> Quota:
        """What somebody has left."""
        stats = self._ask(lambda limiter: limiter.get_window_stats(rate.item, who))
        wait = math.ceil(max(0.0, stats.reset_time - time.time()))
        return Quota(rate, int(stats.remaining), wait)

    def _ask(self, question: Callable[[SlidingWindowCounterRateLimiter], Answer]) -> Answer:
        if time.monotonic() >= self._down_until:
            try:
                return question(self._shared)
            except StorageError as error:
                self._down_until = time.monotonic() + PAUSE_SECONDS
                log.warning("rates_counted_alone", error=str(error))
        return question(self._own)


def too_much(quota: Quota) -> Limited:
    """The error of a rate that is used up."""
    rate = quota.rate
    return Limited(
        f"Expected at most {rate.amount} {rate.name} in {rate.seconds} seconds",
        retry_after_seconds=max(1, quota.reset_seconds),
    )
