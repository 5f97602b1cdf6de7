"""Last steps of every worker's start: presence, then consumption."""

import os
from collections.abc import Callable, Sequence

from shared.broker import Broker, process_name
from shared.contracts import Lane, queue_name
from shared.settings import WorkerSettings


def run_worker(
    broker: Broker,
    station: str,
    settings: WorkerSettings,
    ready: Callable[[], tuple[str, ...]],
) -> int:
    """Consume the queues of a station until SIGTERM; return the exit code.

    Args:
        broker: With its handlers subscribed.
        station: `text`, `image` or `fusion`.
        settings: The lanes and the number of threads.
        ready: Names the releases that the worker has loaded.
    """
    os.nice(settings.niceness)
    queues = lane_queues(station, settings.lanes)
    presence = broker.presence(process_name(station), queues)
    presence.releases = ready
    presence.start()
    return broker.run(queues, threads=settings.threads)


def lane_queues(station: str, lanes: Sequence[Lane]) -> tuple[str, ...]:
    """Return the queues of a station, the interactive one first."""
    return tuple(queue_name(station, lane) for lane in Lane if lane in lanes)
