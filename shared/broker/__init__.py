"""Messages in and out: `publish()`, `subscribe()`, and a look at what waits.

The only package that knows Celery and Redis.
"""

from shared.broker.celery_broker import Broker, Publisher
from shared.broker.depth import QueueDepth, Worker, WorkerState
from shared.broker.presence import Presence, process_name

__all__ = ["Broker", "Presence", "Publisher", "QueueDepth", "Worker", "WorkerState", "process_name"]
