"""Announcements of changed rows, so that nobody need ask the database again and again.

They are hints: published after the commit to whoever listens, and stored nowhere. Whoever waits for
a change also asks the database now and then, since an announcement may get lost with a connection.

The first line of an announcement has the IDs. Each further line has an ID and, after a space, the
JSON of the answer that was committed (`shared.contracts.JobAnswer`). Older versions of Rayon read
each word of these lines as an ID; nobody waits for such an ID.
"""

import threading
import time
from collections.abc import Callable, Mapping

import redis
import structlog

log = structlog.get_logger(__name__)

#: Channel of jobs and catalogs that have become final, for gateways whose clients wait for them.
FINAL = "rayon:jobs:final"
#: Channel of catalogs that the feeder is to process.
UNFED = "rayon:catalogs:unfed"
#: Maximum number of IDs in one announcement.
LARGEST = 256
#: Silence after which the listener asks Redis for a sign of life, and the longest wait for it, in
#: seconds.
SILENCE_SECONDS, ANSWER_SECONDS = 15.0, 5.0
#: Pause before the listener connects again, in seconds.
RETRY_SECONDS = 1.0


def announce(client: redis.Redis, changed: Mapping[str, str | None], channel: str = FINAL) -> None:
    """Publish the IDs of changed rows, with the answers of some. Raises `redis.RedisError`."""
    ids = list(changed)
    for start in range(0, len(ids), LARGEST):
        part = ids[start : start + LARGEST]
        lines = (f"{one} {changed[one]}" for one in part if changed[one] is not None)
        client.publish(channel, "\n".join((" ".join(part), *lines)))


class Listener:
    """Listens on one channel in a thread, with one connection for the whole process.

    Args:
        client: Its pool provides the connection.
        on_change: Called in the thread with the IDs of each announcement and, where it has them,
            the answers.
        channel: The channel.
    """

    def __init__(
        self,
        client: redis.Redis,
        on_change: Callable[[Mapping[str, str | None]], None],
        channel: str = FINAL,
    ) -> None:
        self._redis = client
        self._on_change = on_change
        self._channel = channel
        self._since: float | None = None

    @property
    def listening_seconds(self) -> float:
        """Time for which no announcement was missed; 0 while Redis does not answer."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def start(self) -> None:
        """Listen until the process ends."""
        threading.Thread(target=self._run, name="announcements", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                if self._since is not None:
                    log.warning("announcements_lost", error=f"{type(error).__name__}: {error}")
            except Exception:
                # The thread must not end; meanwhile the database is asked.
                log.exception("announcements_lost")
            self._since = None
            time.sleep(RETRY_SECONDS)

    def _listen(self) -> None:
        with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]  # as in redis
            subscription.subscribe(self._channel)
            while True:
                message = subscription.get_message(timeout=SILENCE_SECONDS)
                if message is None:
                    subscription.ping()
                    message = subscription.get_message(timeout=ANSWER_SECONDS)
                if message is None:
                    raise redis.TimeoutError(f"No answer within {ANSWER_SECONDS:g} s")
                self._take(message)

    def _take(self, message: dict[str, object]) -> None:
        kind, data = message["type"], message["data"]
        if kind == "subscribe":
            # The client also subscribes anew after it has replaced a broken connection.
            self._since = time.monotonic()
        elif kind == "message" and isinstance(data, bytes):
            self._on_change(_read(data.decode()))


def _read(announcement: str) -> dict[str, str | None]:
    """Return the IDs of an announcement, each with its answer or `None`."""
    ids, *lines = announcement.split("\n")
    found: dict[str, str | None] = dict.fromkeys(ids.split())
    for line in lines:
        changed, _, answer = line.partition(" ")
        found[changed] = answer
    return found
