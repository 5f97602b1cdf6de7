"""Clients of Redis, with limits of time: Celery's, and a plain one."""

from typing import Any

import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker.presence import Activity
from shared.broker.transport import Transport
from shared.settings import BrokerSettings


def client_limits(seconds: float) -> dict[str, Any]:
    """Return the arguments of a Redis client that answers or fails within about this time.

    A connection that broke since its last use is replaced once. By default each command is tried
    four times.
    """
    once = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return {"socket_timeout": seconds, "socket_connect_timeout": min(seconds, 2), "retry": once}


def celery_app(settings: BrokerSettings, activity: Activity, socket_seconds: float) -> Celery:
    """Create a Celery application.

    Args:
        settings: Address of Redis, and the time after which messages are delivered again.
        activity: Records the polls of a consumer.
        socket_seconds: Longest wait for an answer of Redis.
    """
    app = Celery("rayon", broker=settings.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        broker_transport=Transport,
        task_ignore_result=True,
        worker_consumer="shared.broker.consumer:RequeueingConsumer",
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        # A worker that prefetches would hold messages that idle workers could handle.
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
            # Interval of the search for lost messages, in seconds; the transport's default is 100.
            "unacked_restore_interval": min(10, settings.visibility_timeout_seconds / 2),
            "unacked_restore_throttle": 1,
            # A publisher that cannot connect fails at once; by default it would wait for 6 s.
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_step": 0.1,
            "queue_order_strategy": "priority",
            "socket_connect_timeout": min(socket_seconds, 2),
            "socket_timeout": socket_seconds,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "",
            "on_asked": activity.ask,
        },
    )
    return app
