"""Count of a message's redeliveries in Redis."""

from contextlib import suppress

import redis

#: Lifetime of a redelivery count in seconds; a later redelivery starts at 1 again.
COUNT_SECONDS = 24 * 3600


class RedisRedeliveries:
    """Count of one message's redeliveries in Redis, which survives a crash of the worker."""

    def __init__(self, client: redis.Redis, message_id: str) -> None:
        self._redis = client
        self._key = f"rayon:redeliveries:{message_id}"

    def count(self) -> int:
        """Add one and return the count."""
        try:
            with self._redis.pipeline() as pipe:
                pipe.incr(self._key)
                pipe.expire(self._key, COUNT_SECONDS)
                return int(pipe.execute()[0])
        except redis.RedisError:
            return 1

    def forget(self) -> None:
        """Reset the count."""
        with suppress(redis.RedisError):
            self._redis.delete(self._key)
