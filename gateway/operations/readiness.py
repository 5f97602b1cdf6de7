"""Readiness checks of the gateway."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from alembic.runtime.migration import MigrationContext

from gateway.operations.processes import summary
from gateway.operations.schemas import Health
from gateway.releases.champion_watch import STATIONS, ChampionWatch
from shared.broker import Broker, Worker
from shared.contracts import STATIONS as ALL_STATIONS
from shared.contracts import Lane, queue_name
from shared.db.migrations.upgrade import revisions
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.storage import Storage

#: Longest time for the checks of `/readyz`, in seconds; shorter than the time limit of a probe.
MOST_SECONDS = 3.0


class ReadinessProbe:
    """Runs the checks in a thread of its own, for a bounded time. For the event loop only.

    Probes that arrive meanwhile share the result, so that they take no threads while a store hangs.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._running: asyncio.Future[Health] | None = None

    async def check(self, checks: Callable[[], Health]) -> Health:
        """Return the result of the checks, or `unavailable` if they take too long."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().run_in_executor(self._executor, checks)
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), MOST_SECONDS)
        except TimeoutError:
            slow = f"Expected the checks within {MOST_SECONDS:g} s. Received: not yet"
            return Health(status="unavailable", checks={"gateway": slow})


def readiness(
    unit_of_work: UnitOfWork,
    broker: Broker,
    champion: ChampionWatch,
    storage: Storage,
    expected_processes: Sequence[str] = (),
) -> Health:
    """Check the requirements for accepting jobs: migrated tables and a champion.

    Queue and workers are reported too: without them jobs are still accepted, and answered later. A
    queue that takes no messages makes the gateway `degraded`, not `unavailable`, because a proxy
    that sent it no requests would lose the jobs that it keeps. So does a full disk of the storage,
    because reads go on.
    """
    checks = {"database": _database(unit_of_work), "release": _release(champion)}
    is_ready = all(check == "ok" for check in checks.values())
    trouble = broker.trouble()
    checks["queue"] = "ok" if trouble is None else f"{trouble}; jobs are kept and wait"
    checks["workers"] = _workers(broker, champion)
    checks["storage"] = _storage(storage)
    is_complete = trouble is None and checks["storage"] == "ok"
    accepting: Literal["ok", "degraded"] = "ok" if is_complete else "degraded"
    return Health(
        status=accepting if is_ready else "unavailable",
        checks=checks,
        processes=dict(summary(broker, expected_processes)),
    )


def _database(unit_of_work: UnitOfWork) -> str:
    try:
        with unit_of_work.reading() as session:
            found = MigrationContext.configure(session.connection()).get_current_revision()
    except Unavailable as error:
        return error.detail
    # An unknown migration comes from a newer version that is being rolled out.
    newest, *earlier = revisions()
    if found is None or found in earlier:
        return f"expected migration {newest}, found {found}"
    return "ok"


def _storage(storage: Storage) -> str:
    try:
        storage.require_room(0)
    except Unavailable as error:
        return error.detail
    return "ok"


def _release(champion: ChampionWatch) -> str:
    try:
        champion.current()
    except Unavailable as error:
        return error.detail
    return "ok"


def _workers(broker: Broker, champion: ChampionWatch) -> str:
    """Check that each interactive lane has a worker with the models of the champion."""
    try:
        release, workers = champion.current(), broker.workers()
    except Unavailable as error:
        return error.detail
    queues = {
        queue
        for worker in workers
        for queue in worker.queues
        if not queue.startswith(STATIONS) or release in worker.releases
    }
    awaited = {queue_name(station, Lane.INTERACTIVE) for station in ALL_STATIONS} - queues
    found = [f"waiting for {', '.join(sorted(awaited))}"] if awaited else []
    return "; ".join([*found, *_unloadable(workers)]) or "ok"


def _unloadable(workers: Sequence[Worker]) -> Sequence[str]:
    """Name the releases that workers cannot load; operators find the reasons in `/v1/queues`."""
    found: dict[str, set[str]] = defaultdict(set)
    for worker in workers:
        for version in worker.unloadable:
            found[version].add(worker.name.partition("@")[0])
    return [
        f"release {version} cannot be loaded by {', '.join(sorted(stations))}"
        for version, stations in sorted(found.items())
    ]
