"""Matters that need a person, on the first page of operators."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.api import drift_alerts, queues, reviews
from gateway.console.visit import Visit
from gateway.operations.schemas import QueueList
from shared.db.models import AlertStatus
from shared.errors import Unavailable

#: Alerts and reviews that are counted; of more, the page shows that there are more.
COUNTED = 200
#: Alerts in these states wait for something; a training and an ended one do not.
OPEN_ALERTS = (AlertStatus.ASKING, AlertStatus.OPEN)


@dataclass(frozen=True)
class Matter:
    """Something that needs a person.

    Attributes:
        kind: Kind, from which the page makes a sentence.
        path: Path of the page below `/console` that shows it; empty for none.
        count: Number of the things.
        names: Names of the first ones.
    """

    kind: str
    path: str
    count: int = 1
    names: tuple[str, ...] = ()


def matters(visit: Visit) -> list[Matter]:
    """Return what needs a person, the most urgent first."""
    return [*_of_queues(visit), *_of_letters(visit), *_of_alerts(visit), *_of_reviews(visit)]


def _of_queues(visit: Visit) -> Iterator[Matter]:
    try:
        found = queues.list_queues(visit.services, visit.user)
    except Unavailable:
        yield Matter("queue_down", "/queues")
        return
    for kind, names in _troubles(found).items():
        if names:
            yield Matter(kind, "/queues", len(names), tuple(names))


def _troubles(found: QueueList) -> dict[str, list[str]]:
    """Return the names of what is missing or stands still, by kind of matter."""
    return {
        "processes_missing": found.missing_processes,
        "processes_still": [one.name for one in found.processes if one.state != "ok"],
        "queues_unconsumed": [
            one.queue for one in found.items if one.lane and not one.workers_proven
        ],
    }


def _of_letters(visit: Visit) -> Iterator[Matter]:
    count = sum(one.count for one in queues.list_groups(visit.services, visit.user).items)
    if count:
        yield Matter("dead_letters", "/dead-letters", count)


def _of_alerts(visit: Visit) -> Iterator[Matter]:
    for status in OPEN_ALERTS:
        found = drift_alerts.list_alerts(visit.services, visit.user, status, limit=COUNTED).items
        if found:
            yield Matter(f"alerts_{status.value}", "/alerts", len(found))


def _of_reviews(visit: Visit) -> Iterator[Matter]:
    found = reviews.list_reviews(visit.services, visit.user, labelled=False, limit=COUNTED).items
    if found:
        yield Matter("reviews", "", len(found))
