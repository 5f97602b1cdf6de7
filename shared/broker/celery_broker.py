"""Publish and subscribe with Celery over Redis.

Celery's results, chords and retries are not used: results are rows in the database, and a failed
message returns to its queue until it reaches `max_deliveries` and is parked as a dead letter.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import redis
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from shared import metrics
from shared.breaker import Breaker
from shared.broker.announcements import FINAL, Listener, announce
from shared.broker.clients import celery_app, client_limits
from shared.broker.delivery import Delivery, Requeue
from shared.broker.depth import (
    QueueDepth,
    Worker,
    memory_ratio,
    queue_depths,
    workers_present,
)
from shared.broker.heartbeat import Heartbeat, HeartbeatThread, heartbeats
from shared.broker.presence import CONSUMING, Activity, Presence
from shared.broker.redeliveries import RedisRedeliveries
from shared.broker.transport import SHARE_HEADER
from shared.broker.unknown_messages import UnknownMessages
from shared.contracts import Message, WorkMessage
from shared.errors import Unavailable
from shared.logs import bound_trace
from shared.progress import PROGRESS
from shared.settings import BrokerSettings
from shared.tracing import message_headers, message_span

M = TypeVar("M", bound=Message)

#: Key that is written to see whether Redis takes messages, and its lifetime in seconds.
PROBE_KEY, PROBE_SECONDS = "rayon:probe", 10
#: Longest wait of a consumer for Redis, in seconds; it blocks there for about two.
CONSUMER_SECONDS = 10.0


class Publisher(Protocol):
    """Interface for sending messages."""

    def publish(self, message: Message) -> None:
        """Send one message. Raises `Unavailable` if Redis does not answer."""

    def announce(self, changed: Mapping[str, str | None], channel: str = FINAL) -> None:
        """Announce changed rows, by default final ones, to whoever waits for them.

        It raises no error: announcements are hints.

        Args:
            changed: By ID of a row, its committed answer as JSON (`shared.contracts.JobAnswer`) for
                a client that waits, or `None`.
            channel: `FINAL` or `UNFED`.
        """


class Broker:
    """Connection of one process to the message queue.

    Args:
        settings: Address, and limits of time, deliveries and retries.
        has_breaker: True to leave Redis alone after a failure until it answers a probe, so that the
            requests of a gateway do not wait for it one by one.
    """

    def __init__(self, settings: BrokerSettings, *, has_breaker: bool = False) -> None:
        self._settings = settings
        self.activity = Activity()
        self._app = celery_app(settings, self.activity, CONSUMER_SECONDS)
        # A consumer blocks in Redis for longer than a sender waits.
        self._sender = celery_app(settings, self.activity, settings.answer_seconds)
        self._redis = redis.Redis.from_url(
            settings.url.get_secret_value(), **client_limits(settings.answer_seconds)
        )
        self.breaker = Breaker("message queue", self._write_probe) if has_breaker else None
        self._delivery = Delivery(settings, self.publish)
        self._app.on_unknown_message = UnknownMessages(
            settings, self._redis, self.publish
        ).requeue_later

    def publish(self, message: Message) -> None:
        """Send one message to its queue.

        Raises:
            Unavailable: Redis does not answer; nothing was sent.
        """
        links = message.links if isinstance(message, WorkMessage) else ()
        share = message.user_id if isinstance(message, WorkMessage) else ""
        with self._guarded():
            try:
                self._sender.send_task(
                    message.topic,
                    args=(message.model_dump(mode="json"),),
                    queue=message.queue,
                    headers={
                        "published_at": time.time(),
                        SHARE_HEADER: share,
                        **message_headers(message.trace_id, links),
                    },
                    retry=False,
                    # Celery would add a second, shortened copy of the message for its own logs,
                    # which takes a sixth of the time of sending it.
                    argsrepr="()",
                    kwargsrepr="{}",
                )
            except (OperationalError, redis.RedisError, OSError) as error:
                metrics.dependency_failures_total.labels("queue").inc()
                raise Unavailable(f"The message queue does not answer: {error}") from error
        metrics.messages_published_total.labels(message.topic).inc()

    def announce(self, changed: Mapping[str, str | None], channel: str = FINAL) -> None:
        """Announce changed rows, by default final ones, to whoever waits for them."""
        with suppress(Unavailable), self._guarded():
            try:
                announce(self._redis, changed, channel)
            except (redis.RedisError, OSError) as error:
                raise Unavailable(f"The message queue does not answer: {error}") from error

    def listener(
        self, on_change: Callable[[Mapping[str, str | None]], None], channel: str = FINAL
    ) -> Listener:
        """Create the thread that listens for announcements.

        Args:
            on_change: Called in the thread with the IDs of each announcement and their answers.
            channel: The channel; by default that of final jobs and catalogs.
        """
        return Listener(self._redis, on_change, channel)

    def subscribe(self, kind: type[M], handler: Callable[[M], None]) -> None:
        """Call a handler with every received message of one type.

        Args:
            kind: The message class.
            handler: Must tolerate receiving a message twice and running in several threads at once.
        """

        def task(celery_task: Any, payload: dict[str, Any]) -> None:
            self._deliver(celery_task.request, kind.model_validate(payload), handler)

        # Created at 0, because Prometheus sees no increase in a counter that first appears as 1.
        for counter in (metrics.messages_failed_total, metrics.messages_parked_total):
            counter.labels(kind.topic)
        self._app.task(name=kind.topic, bind=True)(task)

    def run(self, queues: Iterable[str], *, threads: int) -> int:
        """Consume queues until the process receives a stop signal; return the exit code."""
        # Every handler ends within this time.
        PROGRESS.expect(CONSUMING, self._settings.visibility_timeout_seconds)
        worker = self._app.Worker(
            pool="threads",
            concurrency=threads,
            queues=list(queues),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        return worker.exitcode or 0

    def presence(self, name: str, queues: Iterable[str]) -> Presence:
        """Create the thread that announces this worker and checks that it consumes."""
        return Presence(
            redis=self._redis,
            name=name,
            queues=tuple(queues),
            activity=self.activity,
            deaf_after_seconds=self._settings.deaf_after_seconds,
            beat_file=self._settings.beat_file,
        )

    def heartbeat(self, process: str) -> HeartbeatThread:
        """Create the thread that writes the heartbeat of this process."""
        return HeartbeatThread(self._redis, process)

    def heartbeats(self) -> list[Heartbeat]:
        """Return the last heartbeats of all processes. Raises `Unavailable`."""
        return heartbeats(self._redis)

    def trouble(self) -> str | None:
        """Return why Redis takes no messages, or `None` if it does."""
        try:
            self._write_probe()
        except redis.ResponseError as error:
            return f"refuses to write: {error}".split(". ")[0].rstrip(".")
        except (redis.RedisError, OSError):
            return "does not answer"
        return None

    def depth(self, queue: str) -> QueueDepth:
        """Return the waiting and unacknowledged messages of a queue. Raises `Unavailable`."""
        return self.depths([queue])[queue]

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """Return the depth of several queues in one snapshot. Raises `Unavailable`."""
        with self._guarded():
            return queue_depths(self._redis, tuple(queues))

    def workers(self) -> list[Worker]:
        """Return the workers that announced themselves recently. Raises `Unavailable`."""
        with self._guarded():
            return workers_present(self._redis)

    def memory_ratio(self) -> float:
        """Return the used share of the memory limit of Redis, or 0 without a limit.

        Raises:
            Unavailable: Redis does not answer.
        """
        with self._guarded():
            return memory_ratio(self._redis)

    def _write_probe(self) -> None:
        # A Redis that is full, read-only or unable to save answers PING all the same.
        self._redis.set(PROBE_KEY, "", ex=PROBE_SECONDS)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Refuse the block while the breaker is open, and open it if the block finds Redis away."""
        if self.breaker is None:
            yield
            return
        self.breaker.require_closed()
        try:
            yield
        except Unavailable as error:
            self.breaker.open(error.detail.removeprefix("The message queue does not answer: "))
            raise

    def _deliver(self, request: Any, message: M, handler: Callable[[M], None]) -> None:
        # Counting costs a round trip, so it is limited to messages that Redis marks as redelivered.
        is_redelivered = bool((request.delivery_info or {}).get("redelivered"))
        redeliveries = RedisRedeliveries(self._redis, request.id) if is_redelivered else None
        links = message.links if isinstance(message, WorkMessage) else ()
        headers = request.headers or {}
        # The wait of a redelivered message includes the visibility timeout, so it does not measure
        # the queue.
        if not is_redelivered and (published_at := headers.get("published_at")) is not None:
            waited = max(0.0, time.time() - float(published_at))
            metrics.message_wait_seconds.labels(message.topic).observe(waited)
        with (
            bound_trace(message.trace_id, links),
            message_span(message.topic, message.trace_id, headers),
            self.activity.handling(),
        ):
            try:
                self._delivery.deliver(message, handler, redeliveries)
            except Requeue as error:
                raise Reject(str(error), requeue=True) from error
        metrics.messages_handled_total.labels(message.topic).inc()
