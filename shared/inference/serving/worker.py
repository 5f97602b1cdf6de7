"""First and last steps of every worker's start: its priority; presence, then consumption."""

import os
from collections.abc import Callable, Mapping, Sequence

from shared import metrics
from shared.broker import Broker, process_name
from shared.contracts import Lane, queue_name
from shared.inference.serving.loading import Loads
from shared.service import start_service
from shared.settings import WorkerSettings


def start_worker(name: str, settings: WorkerSettings) -> None:
    """Start the service of a worker at its priority. Call it before anything starts a thread.

    Args:
        name: Name of the worker in logs and traces.
        settings: The nice value that is added.
    """
    # On Linux each thread has its own nice value and inherits it from the thread that starts it.
    os.nice(settings.niceness)
    start_service(name)


def run_worker(
    broker: Broker,
    station: str,
    settings: WorkerSettings,
    ready: Callable[[], tuple[str, ...]],
    loads: Sequence[Loads],
) -> int:
    """Consume the queues of a station until SIGTERM; return the exit code.

    Args:
        broker: With its handlers subscribed.
        station: `text`, `image` or `fusion`.
        settings: The lanes and the number of threads.
        ready: Names the releases that the worker has loaded.
        loads: Its loads, of which failed ones are announced.
    """
    queues = lane_queues(station, settings.lanes)
    presence = broker.presence(process_name(station), queues)
    presence.releases = ready
    presence.unloadable = lambda: unloadable(station, loads)
    presence.start()
    broker.heartbeat(process_of(station, settings.lanes)).start()
    return broker.run(queues, threads=settings.threads)


def unloadable(station: str, loads: Sequence[Loads]) -> Mapping[str, str]:
    """Return why a worker cannot load releases, by version, and show them as metrics."""
    found = {version: reason for one in loads for version, reason in one.reasons().items()}
    metrics.show(metrics.release_unloadable, {(station, version): 1 for version in found})
    return found


def process_of(station: str, lanes: Sequence[Lane]) -> str:
    """Return what a worker runs as: `text-catalog`, or `text` with both lanes."""
    return f"{station}-{lanes[0]}" if len(lanes) == 1 else station


def lane_queues(station: str, lanes: Sequence[Lane]) -> tuple[str, ...]:
    """Return the queues of a station, the interactive one first."""
    return tuple(queue_name(station, lane) for lane in Lane if lane in lanes)
