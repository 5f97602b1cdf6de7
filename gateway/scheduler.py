"""Run the scheduler: requeue lost jobs, export counts, and delete expired data periodically."""

import sys

from apscheduler.schedulers.blocking import BlockingScheduler

from gateway.identity import one_time_codes
from gateway.identity.sessions import delete_expired
from gateway.operations.heartbeat import Heartbeat
from gateway.operations.queues import record_depths
from gateway.operations.requeue import Sweeper, delete_old_keys
from gateway.operations.retention import Retention
from gateway.operations.row_counts import RowCounts
from gateway.settings import RetentionSettings, SweepSettings
from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.schedule import every
from shared.service import start_service, stop_on_signals
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    StorageSettings,
)
from shared.storage import Storage

#: Intervals in seconds: deletion of expired keys and sessions, fast counts, counts of all rows.
CLEAN_SECONDS = 3600
DEPTH_SECONDS = 5
ALL_SECONDS = 60


def main() -> int:
    """Run periodic tasks until SIGTERM or SIGINT. Return the exit code."""
    start_service("scheduler")
    queue = BrokerSettings()
    broker, heart = Broker(queue), Heartbeat(queue.beat_file)
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    settings = SweepSettings()
    sweeper = Sweeper(unit_of_work, broker.depth, settings, broker.workers)
    storage = Storage(StorageSettings())
    retention = Retention(unit_of_work, storage, RetentionSettings())
    row_counts = RowCounts(unit_of_work, broker, storage)

    def sweep() -> None:
        with heart.after():
            sweeper.sweep()

    def clean() -> None:
        with unit_of_work() as work:
            delete_expired(work.session)
            one_time_codes.delete_expired(work.session)
            delete_old_keys(work.session)

    scheduler = BlockingScheduler(
        timezone="UTC", job_defaults={"max_instances": 1, "coalesce": True}
    )
    every(scheduler, settings.interval_seconds, "sweep", sweep)
    every(scheduler, CLEAN_SECONDS, "clean", clean)
    every(scheduler, DEPTH_SECONDS, "depths", lambda: record_depths(broker))
    every(scheduler, DEPTH_SECONDS, "unfinished", row_counts.count_unfinished)
    every(scheduler, DEPTH_SECONDS, "workers", row_counts.count_workers)
    every(scheduler, DEPTH_SECONDS, "probe", row_counts.probe)
    every(scheduler, ALL_SECONDS, "all", row_counts.count_all)
    every(scheduler, retention.settings.interval_seconds, "retention", retention.clean)

    def stop() -> None:
        retention.stopping.set()
        scheduler.shutdown(wait=False)

    stop_on_signals(stop)
    scheduler.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
