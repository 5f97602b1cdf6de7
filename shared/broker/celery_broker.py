"""Publish and subscribe on Celery, with Redis as the transport.

Celery's results, chords and retries are not used: the rows in the database are the result, and
a message that fails goes back to its queue until `max_deliveries`, then it is parked.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import redis
import structlog
from celery import Celery
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from shared import metrics
from shared.broker.delivery import Delivery, TryAgain
from shared.broker.depth import (
    QueueDepth,
    Worker,
    memory_ratio,
    queue_depths,
    workers_present,
)
from shared.broker.presence import Activity, Presence
from shared.broker.transport import Transport
from shared.contracts import Lane, Message, MessageParked, WorkMessage
from shared.errors import Unavailable
from shared.logs import bound_trace
from shared.settings import BrokerSettings
from shared.tracing import message_headers, message_span

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: Redeliveries are counted for this long; a message that comes back later starts anew.
COUNT_SECONDS = 24 * 3600
NO_TRACE = "0" * 32


class Publisher(Protocol):
    """Whatever can send a message."""

    def publish(self, message: Message) -> None:
        """Send one message. Raises `Unavailable` when the queue does not answer."""


class Broker:
    """The connection of one process to the message queue."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self.activity = Activity()
        self._app = _celery_app(settings, self.activity)
        self._app.on_stranger = self._put_off
        self._redis = redis.Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=2
        )
        self._delivery = Delivery(settings, self.publish)

    def publish(self, message: Message) -> None:
        """Send one message to its queue.

        Raises:
            Unavailable: Redis does not answer; nothing was sent.
        """
        links = message.links if isinstance(message, WorkMessage) else ()
        try:
            self._app.send_task(
                message.topic,
                args=(message.model_dump(mode="json"),),
                queue=message.queue,
                headers={"published_at": time.time(), **message_headers(message.trace_id, links)},
                retry=False,
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            metrics.dependency_failures_total.labels("queue").inc()
            raise Unavailable(f"The message queue does not answer: {error}") from error
        metrics.messages_published_total.labels(message.topic).inc()

    def subscribe(self, kind: type[M], handler: Callable[[M], None]) -> None:
        """Call `handler` with every message of one kind that arrives.

        Args:
            kind: The message class.
            handler: May run twice with the same message, and in several threads at once.
        """

        def task(celery_task: Any, payload: dict[str, Any]) -> None:
            self._deliver(celery_task.request, kind.model_validate(payload), handler)

        # From the start, so that the first failure is an increase and not a beginning.
        for counter in (metrics.messages_failed_total, metrics.messages_parked_total):
            counter.labels(kind.topic)
        self._app.task(name=kind.topic, bind=True)(task)

    def run(self, queues: Iterable[str], *, threads: int) -> int:
        """Consume queues until the process is told to stop; returns the exit code."""
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
        """Announce this worker and watch that it really consumes."""
        return Presence(
            redis=self._redis,
            name=name,
            queues=tuple(queues),
            activity=self.activity,
            deaf_after_seconds=self._settings.deaf_after_seconds,
            beat_file=self._settings.beat_file,
        )

    def is_alive(self) -> bool:
        """Return True if Redis responds."""
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def depth(self, queue: str) -> QueueDepth:
        """Return the waiting and unacknowledged messages of a queue. Raises `Unavailable`."""
        return self.depths([queue])[queue]

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """Return the depth of several queues in one snapshot. Raises `Unavailable`."""
        return queue_depths(self._redis, tuple(queues))

    def workers(self) -> list[Worker]:
        """Return the workers that announced themselves recently. Raises `Unavailable`."""
        return workers_present(self._redis)

    def memory_ratio(self) -> float:
        """Share of the memory that Redis may use which it uses; 0 without a limit.

        Raises:
            Unavailable: It does not answer.
        """
        return memory_ratio(self._redis)

    def _put_off(self, message: Any) -> None:
        """Give a message back later, for a newer worker may know it."""
        log.warning("message_unknown", topic=message.headers["task"])
        timer = threading.Timer(
            self._settings.unknown_pause_seconds, self._give_back, args=(message,)
        )
        timer.daemon = True
        timer.start()

    def _give_back(self, message: Any) -> None:
        comebacks = _RedisComebacks(self._redis, message.headers["id"])
        tries = comebacks.count()
        # What fails here stays taken, and comes again after the visibility timeout.
        with suppress(OperationalError, redis.RedisError, OSError, Unavailable):
            if tries < self._settings.unknown_tries:
                message.requeue()
                return
            self.publish(_parked(message, tries))
            message.ack()
            comebacks.forget()

    def _deliver(self, request: Any, message: M, handler: Callable[[M], None]) -> None:
        # Counting costs a round trip, so only messages that Redis marks as redelivered are counted.
        is_again = bool((request.delivery_info or {}).get("redelivered"))
        comebacks = _RedisComebacks(self._redis, request.id) if is_again else None
        links = message.links if isinstance(message, WorkMessage) else ()
        headers = request.headers or {}
        # What comes again has waited for its worker to be given up: that says nothing of the queue.
        if not is_again and (published_at := headers.get("published_at")) is not None:
            waited = max(0.0, time.time() - float(published_at))
            metrics.message_wait_seconds.labels(message.topic).observe(waited)
        with (
            bound_trace(message.trace_id, links),
            message_span(message.topic, message.trace_id, headers),
            self.activity.handling(),
        ):
            try:
                self._delivery.deliver(message, handler, comebacks)
            except TryAgain as error:
                raise Reject(str(error), requeue=True) from error
        metrics.messages_handled_total.labels(message.topic).inc()


def _parked(message: Any, tries: int) -> MessageParked:
    """Build the dead letter of a message that no worker could handle."""
    (payload, *_), *_ = message.payload
    lane = payload.get("lane")
    return MessageParked(
        trace_id=payload.get("trace_id", NO_TRACE),
        lane=Lane(lane) if lane in list(Lane) else Lane.INTERACTIVE,
        parked_topic=message.headers["task"],
        payload=payload,
        error=f"no worker knew it in {tries} tries",
        deliveries=tries,
        parked_at=datetime.now(UTC),
    )


class _RedisComebacks:
    """Counts one message's comebacks in Redis, which outlives the workers it may kill."""

    def __init__(self, client: redis.Redis, message_id: str) -> None:
        self._redis = client
        self._key = f"rayon:redeliveries:{message_id}"

    def count(self) -> int:
        """Count one more, and return how many there were."""
        try:
            with self._redis.pipeline() as pipe:
                pipe.incr(self._key)
                pipe.expire(self._key, COUNT_SECONDS)
                return int(pipe.execute()[0])
        except redis.RedisError:
            return 1

    def forget(self) -> None:
        """Start anew."""
        with suppress(redis.RedisError):
            self._redis.delete(self._key)


def _celery_app(settings: BrokerSettings, activity: Activity) -> Celery:
    app = Celery("rayon", broker=settings.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        broker_transport=Transport,
        task_ignore_result=True,
        worker_consumer="shared.broker.consumer:PatientConsumer",
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        # Without prefetching a worker holds only what it is working on (it would hoard otherwise).
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_soft_shutdown_timeout=5.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=16,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout_seconds,
            # Lost messages are looked for this often; the transport's own habit is each 100 s.
            "unacked_restore_interval": min(10, settings.visibility_timeout_seconds / 2),
            "unacked_restore_throttle": 1,
            # A publisher that cannot connect says so at once; the default makes it wait for 6 s.
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_step": 0.1,
            "queue_order_strategy": "priority",
            "socket_connect_timeout": 2,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "",
            "on_asked": activity.ask,
        },
    )
    return app
