"""Message queue: publish, subscribe, queue depths and live workers.

Only this package uses Celery and Redis directly.
"""

from shared.broker.announcements import FINAL, UNFED, Listener
from shared.broker.celery_broker import Broker, Publisher
from shared.broker.clients import client_limits
from shared.broker.depth import QueueDepth, Worker, WorkerState, unloadable_everywhere
from shared.broker.heartbeat import Heartbeat
from shared.broker.local_delivery import LocalDelivery
from shared.broker.presence import Presence, process_name

__all__ = [
    "FINAL",
    "UNFED",
    "Broker",
    "Heartbeat",
    "Listener",
    "LocalDelivery",
    "Presence",
    "Publisher",
    "QueueDepth",
    "Worker",
    "WorkerState",
    "client_limits",
    "process_name",
    "unloadable_everywhere",
]
