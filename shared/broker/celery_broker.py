"""Publish and subscribe on Celery, with Redis as the transport.

Celery's results, chords and retries are not used: the rows in the database are the result, and
a message that fails goes back to its queue until `max_deliveries`, then it is parked.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import redis
import structlog
from celery import Celery
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from shared import metrics
from shared.broker.depth import QueueDepth, Worker, queue_depth, workers_present
from shared.broker.presence import Activity, Presence
from shared.contracts import Lane, LaneMessage, Message, MessageParked, WorkMessage
from shared.errors import RayonError, Unavailable
from shared.logs import bound_trace
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: Redeliveries are counted for this long; a message that comes back later starts anew.
COUNT_SECONDS = 24 * 3600


class Publisher(Protocol):
    """Whatever can send a message."""

    def publish(self, message: Message) -> None:
        """Send one message. Raises `Unavailable` when the queue does not answer."""


class Broker:
    """The connection of one process to the message queue."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._app = _celery_app(settings)
        self._redis = redis.Redis.from_url(
            settings.url.get_secret_value(), socket_timeout=10, socket_connect_timeout=2
        )
        self.activity = Activity()

    def publish(self, message: Message) -> None:
        """Send one message to its queue.

        Raises:
            Unavailable: Redis does not answer; nothing was sent.
        """
        try:
            self._app.send_task(
                message.topic,
                args=(message.model_dump(mode="json"),),
                queue=message.queue,
                headers={"published_at": time.time()},
                retry=False,
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            raise Unavailable(f"The message queue does not answer: {error}") from error
        metrics.messages_published_total.labels(message.topic).inc()

    def subscribe(
        self, kind: type[M], handler: Callable[[M], None], *, acknowledge_early: bool = False
    ) -> None:
        """Call `handler` with every message of one kind that arrives.

        Args:
            kind: The message class.
            handler: May run twice with the same message, and in several threads at once.
            acknowledge_early: The message is gone once the handler starts. For handlers that
                run longer than the visibility timeout and keep their own lease.
        """

        def task(celery_task: Any, payload: dict[str, Any]) -> None:
            self._deliver(celery_task.request, kind.model_validate(payload), handler)

        self._app.task(name=kind.topic, bind=True, acks_late=not acknowledge_early)(task)

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
        )

    def is_alive(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def depth(self, queue: str) -> QueueDepth:
        """What waits in a queue and what its workers hold. Raises `Unavailable`."""
        return queue_depth(self._redis, queue)

    def workers(self) -> list[Worker]:
        """The workers that announced themselves lately. Raises `Unavailable`."""
        return workers_present(self._redis)

    def _deliver(self, request: Any, message: M, handler: Callable[[M], None]) -> None:
        deliveries = self._earlier_deliveries(request)
        topic = message.topic
        with bound_trace(message.trace_id), self.activity.handling():
            if deliveries and isinstance(message, WorkMessage) and len(message.items) > 1:
                self._publish_apart(message)
            elif deliveries >= self._settings.max_deliveries:
                self._park(message, request, deliveries)
            else:
                with metrics.message_seconds.labels(topic).time():
                    self._handle(message, handler, deliveries)
        metrics.messages_handled_total.labels(topic).inc()

    def _earlier_deliveries(self, request: Any) -> int:
        # Counting costs a round trip, so only messages that Redis marks as redelivered are counted.
        if not (request.delivery_info or {}).get("redelivered"):
            return 0
        try:
            with self._redis.pipeline() as pipe:
                pipe.incr(_count_key(request.id))
                pipe.expire(_count_key(request.id), COUNT_SECONDS)
                return int(pipe.execute()[0])
        except redis.RedisError:
            return 1

    def _handle(self, message: M, handler: Callable[[M], None], deliveries: int) -> None:
        try:
            handler(message)
        except Exception as error:
            metrics.messages_failed_total.labels(message.topic).inc()
            log.warning(
                "message_failed",
                topic=message.topic,
                deliveries=deliveries,
                error=f"{type(error).__name__}: {error}",
                exc_info=not isinstance(error, RayonError),
            )
            time.sleep(min(self._settings.retry_delay_seconds * 2**deliveries, 30.0))
            if not (isinstance(error, RayonError) and error.is_transient):
                raise Reject(str(error), requeue=True) from error
            # A missing database is nobody's fault: the message starts anew and is never parked.
            self._publish_or_requeue([message])

    def _publish_apart(self, message: WorkMessage) -> None:
        # One of the items may have killed the worker. Alone, it cannot take the others with it.
        self._publish_or_requeue(message.split())

    def _publish_or_requeue(self, messages: Iterable[Message]) -> None:
        try:
            for message in messages:
                self.publish(message)
        except Unavailable as error:
            raise Reject(str(error), requeue=True) from error

    def _park(self, message: Message, request: Any, deliveries: int) -> None:
        lane = message.lane if isinstance(message, LaneMessage) else Lane.INTERACTIVE
        parked = MessageParked(
            trace_id=message.trace_id,
            lane=lane,
            parked_topic=message.topic,
            payload=message.model_dump(mode="json"),
            error=f"given up after {deliveries} deliveries",
            deliveries=deliveries,
            parked_at=datetime.now(UTC),
        )
        log.error("message_parked", topic=message.topic, deliveries=deliveries)
        metrics.messages_parked_total.labels(message.topic).inc()
        self._publish_or_requeue([parked])
        self._redis.delete(_count_key(request.id))


def _count_key(message_id: str) -> str:
    return f"rayon:redeliveries:{message_id}"


def _celery_app(settings: BrokerSettings) -> Celery:
    app = Celery("rayon", broker=settings.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
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
            "queue_order_strategy": "priority",
            "socket_connect_timeout": 2,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "",
        },
    )
    return app
